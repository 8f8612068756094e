import { encodeRows, type LoadedBundle } from '@collectivekv/bundles';
import {
  type BundleModel,
  decodeRecord,
  freshInteractions,
  steadyNowMs,
  toCkvError,
  type UserRecord,
} from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { UserInteractions, UserRows } from './user-rows.js';

/** Users' interactions, encoded behind the rows of their records. */
export interface EncodedUsers {
  /** Users without a new interaction are left out. */
  readonly users: readonly UserRows[];
  /** Interactions that were left out: the record has their event, or the event is duplicated. */
  readonly duplicateCount: number;
  /** Users of these interactions. */
  readonly repeatedUsers: ReadonlySet<string>;
}

/** Encodes interactions behind the rows of their users' records, for bundles that encode with history. */
export interface HistoryEncoder {
  /**
   * Returns the number of users to encode together. It is small, so that the lease does not end before the append, and
   * the records fit a message.
   */
  usersTogether(bundle: LoadedBundle): number;
  /**
   * Reads the users' records, leaves out interactions that they have, and encodes the others behind their rows.
   * @throws encoding_mismatch if a record is of another encoding
   */
  encode(bundle: LoadedBundle, users: readonly UserInteractions[]): Promise<EncodedUsers>;
}

const MAX_USERS = 64;
const MAX_READ_BYTES = 8 * 1024 * 1024;

/** Creates an encoder. */
export function createHistoryEncoder(options: {
  readonly userCache: GrpcClient<'UserCacheService'>;
  /** Number of users whose graphs run at once. */
  readonly concurrency: number;
  /** Longest wait for the records, ms. */
  readonly timeoutMs: number;
}): HistoryEncoder {
  const { userCache, concurrency, timeoutMs } = options;
  return {
    usersTogether({ model }) {
      const longestBytes = model.manifest.maxPositions * model.layout.strideBytes;
      return Math.max(1, Math.min(MAX_USERS, Math.floor(MAX_READ_BYTES / longestBytes)));
    },

    async encode(bundle, users) {
      const request = { encodingId: bundle.model.encodingId, userIds: users.map(([userId]) => userId) };
      const { records } = await userCache.call('GetRecords', request, { deadlineMs: steadyNowMs() + timeoutMs });
      let duplicateCount = 0;
      const repeatedUsers = new Set<string>();
      const encoded = await mapBounded(users, concurrency, async ([userId, interactions], i): Promise<UserRows> => {
        const record = readableRecord(bundle.model, records[i]);
        const fresh = freshInteractions(record, interactions);
        duplicateCount += interactions.length - fresh.length;
        if (fresh.length < interactions.length) repeatedUsers.add(userId);
        return { userId, interactions: fresh, rows: await encodeRows(bundle, fresh, { history: record?.rows }) };
      });
      return { users: encoded.filter(({ interactions }) => interactions.length > 0), duplicateCount, repeatedUsers };
    },
  };
}

/** Returns the record; undefined if it is unreadable: the append then moves it to another key and begins a new record. */
function readableRecord({ encodingId, layout }: BundleModel, bytes: Uint8Array | undefined): UserRecord | undefined {
  if (!bytes?.length) return undefined;
  try {
    return decodeRecord(bytes, { encodingId, strideBytes: layout.strideBytes });
  } catch (error) {
    if (toCkvError(error).reason !== 'record_corrupt') throw error;
    return undefined;
  }
}

/**
 * Maps the items, at most `concurrency` at once. After a failure no further item starts; the failure is thrown when the
 * running ones have ended.
 */
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
