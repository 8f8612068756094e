import { type BundleFollower, encodeRows, type LoadedBundle } from '@collectivekv/bundles';
import { CkvError, eventHash, type Interaction, type RowLayout, steadyNowMs } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { BundleErasure, RecordBundles } from '@collectivekv/update-queue';

/** Erases users and interactions from records, by calls of the user-cache. */
export interface RecordEraser {
  /**
   * Deletes all records of a user, of every bundle, unreadable ones too.
   * @param validUntilMs returns the end of the next call's fence, as for `RecordWriter.append`
   * @returns the bundles under which the user had something
   * @throws deadline if the fence has ended
   */
  deleteUser(userId: string, validUntilMs: () => number): Promise<BundleErasure[]>;
  /**
   * Deletes an interaction's position from the records of every bundle, and the unreadable records of its user as a
   * whole, since they may hold it. Finds the position by its event in the ring, otherwise by its encoded row. A bundle
   * that encodes with history, or is not followed, is searched by the event only.
   * @param validUntilMs returns the end of the next call's fence, as for `RecordWriter.append`
   * @returns the bundles under which the user has something
   * @throws deadline if the fence has ended
   */
  forget(interaction: Interaction, validUntilMs: () => number): Promise<BundleErasure[]>;
}

/** Options of {@link createRecordEraser}. */
export interface RecordEraserOptions {
  readonly bundles: Pick<BundleFollower, 'all'>;
  readonly recordBundles: Pick<RecordBundles, 'all'>;
  readonly userCache: GrpcClient<'UserCacheService'>;
  readonly timeoutMs: number;
}

/** Creates an eraser. */
export function createRecordEraser({
  bundles,
  recordBundles,
  userCache,
  timeoutMs,
}: RecordEraserOptions): RecordEraser {
  const deadline = () => ({ deadlineMs: steadyNowMs() + timeoutMs });

  async function deleteRecords(userId: string, keepRecords: boolean, validUntilMs: () => number) {
    const followed = bundles.all().map(({ model }) => model.id);
    if (followed.length === 0) throw new CkvError('dependency_unavailable', 'no bundle is loaded yet');
    const bundleIds = [...new Set([...followed, ...(await recordBundles.all())])];
    const request = { userId, bundleIds, keepRecords, validUntilMs: validUntilMs() };
    return (await userCache.call('DeleteRecord', request, deadline())).bundles;
  }

  /** Returns what names the position: the row is empty if only the event can find it. */
  async function matchOf(bundle: LoadedBundle | undefined, interaction: Interaction) {
    const match = { eventHash: Buffer.from(eventHash(interaction.eventId)), row: NO_BYTES, rowTolerance: NO_BYTES };
    // With history, a row depends on the rows before it. Encoding the interaction again gives other bytes.
    if (!bundle || bundle.model.encodesWithHistory || interaction.itemId === '') return match;
    const row = Buffer.from(await encodeRows(bundle, [interaction]));
    return { ...match, row, rowTolerance: toleranceOf(bundle.model.layout) };
  }

  /** Returns whether the position was deleted, and what may remain of it in the record. */
  async function forgetUnder(
    bundleId: string,
    interaction: Interaction,
    validUntilMs: () => number,
  ): Promise<Pick<BundleErasure, 'unreadableCount' | 'positionCount' | 'remainder'>> {
    const bundle = bundles.all().find(({ model }) => model.id === bundleId);
    const match = await matchOf(bundle, interaction);
    const request = { bundleId, userId: interaction.userId, ...match, validUntilMs: validUntilMs() };
    try {
      const answer = await userCache.call('DeletePosition', request, deadline());
      if (answer.unreadable) return { unreadableCount: 1, positionCount: 0, remainder: 'nothing' };
      const { deleted, eventKnown, laterCount } = answer;
      const counts = { unreadableCount: 0, positionCount: deleted ? 1 : 0 };
      if (!deleted && !eventKnown) return { ...counts, remainder: 'not_found' };
      // An earlier try may have deleted the position. An updater that does not follow a bundle does not know how it
      // encodes.
      const learned = (bundle?.model.encodesWithHistory ?? true) && (deleted ? laterCount > 0 : eventKnown);
      return { ...counts, remainder: learned ? 'later_rows' : 'nothing' };
    } catch (error) {
      if (!(error instanceof CkvError) || error.reason !== 'user_not_found') throw error;
      return NOTHING_FORGOTTEN;
    }
  }

  return {
    async deleteUser(userId, validUntilMs) {
      const had = await deleteRecords(userId, false, validUntilMs);
      return had.map(({ bundleId, record, quarantined, positionCount }) => ({
        bundleId,
        recordCount: record ? 1 : 0,
        unreadableCount: quarantined ? 1 : 0,
        positionCount,
        remainder: 'nothing',
      }));
    },

    async forget(interaction, validUntilMs) {
      const has = await deleteRecords(interaction.userId, true, validUntilMs);
      const erasures: BundleErasure[] = [];
      for (const { bundleId, record, quarantined } of has) {
        const forgotten = record ? await forgetUnder(bundleId, interaction, validUntilMs) : NOTHING_FORGOTTEN;
        const unreadableCount = forgotten.unreadableCount + (quarantined ? 1 : 0);
        erasures.push({ ...forgotten, bundleId, recordCount: 0, unreadableCount });
      }
      return erasures;
    },
  };
}

const NO_BYTES = Buffer.alloc(0);
const NOTHING_FORGOTTEN = { unreadableCount: 0, positionCount: 0, remainder: 'nothing' } as const;

/** Returns a tolerance of one step for int8 fields, which machines may round differently. Other fields are exact. */
function toleranceOf({ strideBytes, fields }: RowLayout): Buffer {
  const tolerance = Buffer.alloc(strideBytes);
  for (const { type, offsetBytes, width } of fields) {
    if (type === 'int8') tolerance.fill(1, offsetBytes, offsetBytes + width);
  }
  return tolerance;
}
