import { type BundleFollower, encodeRows, type LoadedBundle } from '@collectivekv/bundles';
import {
  type BundleModel,
  CkvError,
  countUnknown,
  type Interaction,
  RECENT_EVENT_RING,
  steadyNowMs,
} from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { RecordEncodings } from '@collectivekv/update-queue';
import { createHistoryEncoder } from './history-encoder.js';
import { createRecordEraser, type RecordEraser } from './record-eraser.js';
import { appendOf, type EncodedRows, pickRows, type UserRows } from './user-rows.js';

/** Interactions encoded once for every encoding of the followed bundles, that of the active bundle first. */
export interface EncodedInteractions {
  readonly encodings: readonly {
    /** The first followed bundle with this encoding. */
    readonly bundle: LoadedBundle;
    /** Undefined if it encodes with history: then `append` encodes. */
    readonly encoded: EncodedRows | undefined;
  }[];
  readonly unknownItemCount: number;
  readonly unknownActionCount: number;
}

/** The result of an append, counted for the encoding of the active bundle. */
export interface AppendCounts {
  readonly appliedCount: number;
  readonly duplicateCount: number;
  /** Users some of whose interactions the records had already. */
  readonly repeatedUsers: ReadonlySet<string>;
}

/** Options of an append. */
export interface AppendOptions {
  /**
   * Returns the end of the next call's fence: the last Unix ms, by Redis's clock, at which the call is applied.
   */
  readonly validUntilMs: () => number;
  /** False for an encoding under which a user's records get nothing from this append. */
  readonly writes: (encodingId: string, userId: string) => boolean;
}

/** Encodes interactions and writes them to the user-cache, once for every encoding of the followed bundles. */
export interface RecordWriter extends RecordEraser {
  /** True if a followed bundle has the encoding. */
  knows(encodingId: string): boolean;
  /**
   * Runs the encode graphs that need no history. Interactions of different users share a run.
   * @param wants false for encodings to leave out; default all are encoded
   */
  encode(interactions: readonly Interaction[], wants?: (encodingId: string) => boolean): Promise<EncodedInteractions>;
  /**
   * Appends encoded interactions, at most 14 of each user, the size of the ring. If a bundle encodes with history, this
   * method encodes: it leaves out interactions that the records have, and encodes the others behind the records' rows.
   * @throws deadline if the fence has ended
   */
  append(
    byUser: ReadonlyMap<string, readonly Interaction[]>,
    encoded: EncodedInteractions,
    options: AppendOptions,
  ): Promise<AppendCounts>;
}

/** Most users of one AppendPositions call: the most that the user-cache accepts. */
const MAX_APPENDS = 1_024;
/** Most bytes of rows in one AppendPositions call. They fit a message of 16 MiB. */
const MAX_ROW_BYTES = 8 * 1024 * 1024;
const CALL_TIMEOUT_MS = 5_000;
const NO_COUNTS: AppendCounts = { appliedCount: 0, duplicateCount: 0, repeatedUsers: new Set() };

/** Creates a writer. */
export function createRecordWriter(options: {
  readonly bundles: Pick<BundleFollower, 'all' | 'hold'>;
  readonly recordEncodings: RecordEncodings;
  readonly userCache: GrpcClient<'UserCacheService'>;
  /** Most interactions of one graph run. */
  readonly batchSize: number;
  /** Number of users whose graphs run at once, for bundles that encode with history. */
  readonly concurrency: number;
  /** Called with all rows that were encoded. */
  readonly onEncoded?: (model: BundleModel, rows: Uint8Array) => void;
}): RecordWriter {
  const { bundles, recordEncodings, userCache, batchSize, concurrency, onEncoded = () => undefined } = options;
  const historyEncoder = createHistoryEncoder({ userCache, concurrency, timeoutMs: CALL_TIMEOUT_MS });

  async function rowsBy(bundle: LoadedBundle, interactions: readonly Interaction[]): Promise<EncodedRows> {
    const { strideBytes } = bundle.model.layout;
    const rows = new Uint8Array(interactions.length * strideBytes);
    await holding(bundle, async () => {
      for (let from = 0; from < interactions.length; from += batchSize) {
        rows.set(await encodeRows(bundle, interactions.slice(from, from + batchSize)), from * strideBytes);
      }
    });
    onEncoded(bundle.model, rows);
    return { rows, strideBytes, rowOf: new Map(interactions.map((interaction, row) => [interaction, row])) };
  }

  /** Does work with a bundle that stays loaded until then, although the pool may announce it no more. */
  async function holding<T>(bundle: LoadedBundle, work: () => Promise<T>): Promise<T> {
    const release = bundles.hold(bundle);
    try {
      return await work();
    } finally {
      release();
    }
  }

  function followed(): readonly LoadedBundle[] {
    const all = bundles.all();
    if (all.length === 0) throw new CkvError('dependency_unavailable', 'no bundle is loaded yet');
    return all;
  }

  const eraser = createRecordEraser({ bundles, recordEncodings, userCache, timeoutMs: CALL_TIMEOUT_MS });

  async function appendRows({ model }: LoadedBundle, users: readonly UserRows[], validUntilMs: number) {
    if (users.length === 0) return NO_COUNTS;
    const request = {
      encodingId: model.encodingId,
      strideBytes: model.layout.strideBytes,
      maxPositions: model.manifest.maxPositions,
      appends: users.map(appendOf),
      validUntilMs,
    };
    const { outcomes } = await userCache.call('AppendPositions', request, deadline());
    return outcomes
      .map(({ appliedCount, duplicateCount }, i) => {
        const repeatedUsers = new Set(duplicateCount > 0 ? [users[i]?.userId ?? ''] : []);
        return { appliedCount, duplicateCount, repeatedUsers };
      })
      .reduce(sumOf, NO_COUNTS);
  }

  return {
    knows: (encodingId) => bundles.all().some(({ model }) => model.encodingId === encodingId),

    async encode(interactions, wants = () => true) {
      const all = followed();
      const wanted = firstOfEachEncoding(all).filter(({ model }) => wants(model.encodingId));
      const encodings = wanted.map(async (bundle) => ({
        bundle,
        encoded: bundle.model.encodesWithHistory ? undefined : await rowsBy(bundle, interactions),
      }));
      const unknown = all[0] && countUnknown(all[0].model, interactions);
      return {
        encodings: await Promise.all(encodings),
        unknownItemCount: unknown?.items ?? 0,
        unknownActionCount: unknown?.actions ?? 0,
      };
    },

    async append(byUser, { encodings }, { validUntilMs, writes }) {
      await recordEncodings.note(encodings.map(({ bundle }) => bundle.model.encodingId));
      const counts: AppendCounts[] = [];
      for (const { bundle: first, encoded } of encodings) {
        // A bundle that was dropped after `encode` ran cannot run. Without another one of its encoding, nobody reads
        // the records.
        const bundle = encoded ? first : bundles.all().find(({ model }) => model.encodingId === first.model.encodingId);
        if (!bundle) continue;
        let count = NO_COUNTS;
        const usersTogether = encoded ? usersOfACall(bundle) : historyEncoder.usersTogether(bundle);
        const written = [...byUser].filter(([userId]) => writes(bundle.model.encodingId, userId));
        await holding(bundle, async () => {
          for (const slice of slicesOf(written, usersTogether)) {
            const { users, duplicateCount, repeatedUsers } = encoded
              ? { ...NO_COUNTS, users: slice.map((one) => pickRows(encoded, one)) }
              : await historyEncoder.encode(bundle, slice);
            if (!encoded) for (const { rows } of users) onEncoded(bundle.model, rows);
            const appended = await appendRows(bundle, users, validUntilMs());
            count = sumOf(count, sumOf(appended, { appliedCount: 0, duplicateCount, repeatedUsers }));
          }
        });
        counts.push(count);
      }
      return counts[0] ?? NO_COUNTS;
    },

    ...eraser,
  };
}

function sumOf(a: AppendCounts, b: AppendCounts): AppendCounts {
  return {
    appliedCount: a.appliedCount + b.appliedCount,
    duplicateCount: a.duplicateCount + b.duplicateCount,
    repeatedUsers: b.repeatedUsers.size === 0 ? a.repeatedUsers : new Set([...a.repeatedUsers, ...b.repeatedUsers]),
  };
}

/** Returns the first bundle of each encoding: bundles with one encoding write the same records. */
function firstOfEachEncoding(bundles: readonly LoadedBundle[]): readonly LoadedBundle[] {
  const ids = bundles.map(({ model }) => model.encodingId);
  return bundles.filter((_, i) => ids.indexOf(ids[i] ?? '') === i);
}

/** Returns the number of users whose rows fit one message if each user has 14, the size of the ring. */
function usersOfACall({ model }: LoadedBundle): number {
  const userBytes = RECENT_EVENT_RING * model.layout.strideBytes;
  return Math.max(1, Math.min(MAX_APPENDS, Math.floor(MAX_ROW_BYTES / userBytes)));
}

function* slicesOf<T>(items: readonly T[], size: number): Iterable<readonly T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size);
}

function deadline(): { deadlineMs: number } {
  return { deadlineMs: steadyNowMs() + CALL_TIMEOUT_MS };
}
