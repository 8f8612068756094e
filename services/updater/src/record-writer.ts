import type { BundleFollower, LoadedBundle } from '@collectivekv/bundles';
import {
  CkvError,
  EVENT_HASH_BYTES,
  encodeFeeds,
  eventHash,
  type Interaction,
  packRows,
  type RowLayout,
} from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/grpc-client';

/** Interactions encoded under every followed bundle. */
export interface EncodedInteractions {
  readonly bundles: readonly { readonly bundle: LoadedBundle; readonly rows: Uint8Array }[];
  /** The row of an interaction. */
  readonly rowOf: ReadonlyMap<Interaction, number>;
  readonly unknownItemCount: number;
  readonly unknownActionCount: number;
}

/** What appending came to, for one bundle: the active one. */
export interface AppendCounts {
  readonly appliedCount: number;
  readonly duplicateCount: number;
}

/** Encodes interactions and writes them to the user-cache, for every bundle that is followed. */
export interface RecordWriter {
  /** Runs the encode graphs; interactions of any mix of users share a run. */
  encode(interactions: readonly Interaction[]): Promise<EncodedInteractions>;
  /** Appends what was encoded, at most a ring's worth for each user; not after `validUntilMs`, Unix ms. */
  append(
    byUser: ReadonlyMap<string, readonly Interaction[]>,
    encoded: EncodedInteractions,
    validUntilMs: number,
  ): Promise<AppendCounts>;
  /** Deletes an interaction's position: by its event, else by its content. Returns whether one was found. */
  forget(interaction: Interaction): Promise<boolean>;
}

/** Users of one AppendPositions call. */
const MAX_APPENDS = 1_024;
const CALL_TIMEOUT_MS = 5_000;

/** Creates a writer. */
export function createRecordWriter(options: {
  readonly bundles: Pick<BundleFollower, 'all'>;
  readonly userCache: GrpcClient<'UserCacheService'>;
  /** Interactions of one graph run. */
  readonly batchSize: number;
}): RecordWriter {
  const { bundles, userCache, batchSize } = options;

  async function rowsUnder({ model, graphs }: LoadedBundle, interactions: readonly Interaction[]) {
    const rows = new Uint8Array(interactions.length * model.layout.strideBytes);
    let unknownItemCount = 0;
    let unknownActionCount = 0;
    for (let from = 0; from < interactions.length; from += batchSize) {
      const batch = interactions.slice(from, from + batchSize);
      const encoded = encodeFeeds(model, batch);
      rows.set(packRows(model, await graphs.run('encode', encoded.feeds), batch), from * model.layout.strideBytes);
      unknownItemCount += encoded.unknownItemCount;
      unknownActionCount += encoded.unknownActionCount;
    }
    return { rows, unknownItemCount, unknownActionCount };
  }

  function followed(): readonly LoadedBundle[] {
    const all = bundles.all();
    if (all.length === 0) throw new CkvError('dependency_unavailable', 'no bundle is loaded yet');
    return all;
  }

  return {
    async encode(interactions) {
      const under = await Promise.all(
        followed().map(async (bundle) => ({ bundle, ...(await rowsUnder(bundle, interactions)) })),
      );
      return {
        bundles: under.map(({ bundle, rows }) => ({ bundle, rows })),
        rowOf: new Map(interactions.map((interaction, row) => [interaction, row])),
        unknownItemCount: under[0]?.unknownItemCount ?? 0,
        unknownActionCount: under[0]?.unknownActionCount ?? 0,
      };
    },

    async append(byUser, encoded, validUntilMs) {
      const users = [...byUser];
      const counts: AppendCounts[] = [];
      for (const { bundle, rows } of encoded.bundles) {
        const { id, layout, manifest } = bundle.model;
        let [appliedCount, duplicateCount] = [0, 0];
        for (let from = 0; from < users.length; from += MAX_APPENDS) {
          const appends = users.slice(from, from + MAX_APPENDS).map(([userId, interactions]) => ({
            userId,
            eventHashes: hashesOf(interactions),
            rows: pickRows(rows, layout.strideBytes, interactions, encoded.rowOf),
            lastEventMs: Math.max(...interactions.map(({ timestampMs }) => timestampMs)),
          }));
          const request = {
            bundleId: id,
            strideBytes: layout.strideBytes,
            maxPositions: manifest.maxPositions,
            appends,
            validUntilMs,
          };
          const { outcomes } = await userCache.call('AppendPositions', request, deadline());
          for (const outcome of outcomes) {
            appliedCount += outcome.appliedCount;
            duplicateCount += outcome.duplicateCount;
          }
        }
        counts.push({ appliedCount, duplicateCount });
      }
      return counts[0] ?? { appliedCount: 0, duplicateCount: 0 };
    },

    async forget(interaction) {
      const { userId } = interaction;
      let found = false;
      for (const bundle of followed()) {
        const { id, layout } = bundle.model;
        const { rows } =
          interaction.itemId === '' ? { rows: new Uint8Array(0) } : await rowsUnder(bundle, [interaction]);
        const rowTolerance = rows.length === 0 ? Buffer.alloc(0) : toleranceOf(layout);
        const hash = Buffer.from(eventHash(interaction.eventId));
        const request = { bundleId: id, userId, eventHash: hash, row: Buffer.from(rows), rowTolerance };
        try {
          const { deleted } = await userCache.call('DeletePosition', request, deadline());
          found ||= deleted;
        } catch (error) {
          if (!(error instanceof CkvError) || error.reason !== 'user_not_found') throw error;
        }
      }
      return found;
    },
  };
}

/** Another machine may have rounded an int8 dimension to the step beside; everything else is exact. */
function toleranceOf({ strideBytes, fields }: RowLayout): Buffer {
  const tolerance = Buffer.alloc(strideBytes);
  for (const { type, offsetBytes, width } of fields) {
    if (type === 'int8') tolerance.fill(1, offsetBytes, offsetBytes + width);
  }
  return tolerance;
}

function hashesOf(interactions: readonly Interaction[]): Buffer {
  const hashes = Buffer.alloc(interactions.length * EVENT_HASH_BYTES);
  for (const [i, { eventId }] of interactions.entries()) hashes.set(eventHash(eventId), i * EVENT_HASH_BYTES);
  return hashes;
}

function pickRows(
  rows: Uint8Array,
  strideBytes: number,
  interactions: readonly Interaction[],
  rowOf: ReadonlyMap<Interaction, number>,
): Buffer {
  const picked = Buffer.alloc(interactions.length * strideBytes);
  for (const [i, interaction] of interactions.entries()) {
    const from = (rowOf.get(interaction) ?? 0) * strideBytes;
    picked.set(rows.subarray(from, from + strideBytes), i * strideBytes);
  }
  return picked;
}

function deadline(): { deadlineMs: number } {
  return { deadlineMs: Date.now() + CALL_TIMEOUT_MS };
}
