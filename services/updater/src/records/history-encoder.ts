import { encodeRows, type LoadedBundle } from '@collectivekv/bundles';
import { type BundleModel, decodeRecord, freshInteractions, toCkvError, type UserRecord } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { UserInteractions, UserRows } from './user-rows.js';

/** What encoding behind records came to. */
export interface EncodedUsers {
  /** Without users that have nothing new. */
  readonly users: readonly UserRows[];
  /** Interactions left out: their record has their event, or it stands twice. */
  readonly duplicateCount: number;
}

/** Encodes behind the rows that records have: for bundles that encode with history. */
export interface HistoryEncoder {
  /** Users to encode together: few, so that their lease does not end meanwhile, and their records fit a message. */
  usersTogether(bundle: LoadedBundle): number;
  /**
   * Reads the users' records, leaves out what they have already, and encodes the rest behind their rows.
   * @throws bundle_mismatch where a record is of another bundle
   */
  encode(bundle: LoadedBundle, users: readonly UserInteractions[]): Promise<EncodedUsers>;
}

const MAX_USERS = 64;
const MAX_READ_BYTES = 8 * 1024 * 1024;

/** Creates an encoder. */
export function createHistoryEncoder(options: {
  readonly userCache: GrpcClient<'UserCacheService'>;
  /** Users whose graphs run at once. */
  readonly concurrency: number;
  /** Longest wait for the records. */
  readonly timeoutMs: number;
}): HistoryEncoder {
  const { userCache, concurrency, timeoutMs } = options;
  return {
    usersTogether({ model }) {
      const longestBytes = model.manifest.maxPositions * model.layout.strideBytes;
      return Math.max(1, Math.min(MAX_USERS, Math.floor(MAX_READ_BYTES / longestBytes)));
    },

    async encode(bundle, users) {
      const request = { bundleId: bundle.model.id, userIds: users.map(([userId]) => userId) };
      const { records } = await userCache.call('GetRecords', request, { deadlineMs: Date.now() + timeoutMs });
      let duplicateCount = 0;
      const encoded = await mapBounded(users, concurrency, async ([userId, interactions], i): Promise<UserRows> => {
        const record = readableRecord(bundle.model, records[i]);
        const fresh = freshInteractions(record, interactions);
        duplicateCount += interactions.length - fresh.length;
        return { userId, interactions: fresh, rows: await encodeRows(bundle, fresh, { history: record?.rows }) };
      });
      return { users: encoded.filter(({ interactions }) => interactions.length > 0), duplicateCount };
    },
  };
}

/** A record that cannot be read counts as none: the append sets it aside and begins anew. */
function readableRecord({ id, layout }: BundleModel, bytes: Uint8Array | undefined): UserRecord | undefined {
  if (!bytes?.length) return undefined;
  try {
    return decodeRecord(bytes, { bundleId: id, strideBytes: layout.strideBytes });
  } catch (error) {
    if (toCkvError(error).reason !== 'record_corrupt') throw error;
    return undefined;
  }
}

/** Maps so many at once; a failure starts nothing more and leaves nothing running behind it. */
async function mapBounded<T, R>(
  items: readonly T[],
  concurrency: number,
  perform: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      try {
        results[index] = await perform(items[index] as T, index);
      } catch (error) {
        next = items.length;
        throw error;
      }
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: concurrency }, lane));
  for (const outcome of lanes) if (outcome.status === 'rejected') throw outcome.reason;
  return results;
}
