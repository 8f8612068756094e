import { type BundleFollower, encodeRows, type LoadedBundle } from '@collectivekv/bundles';
import { CkvError, eventHash, type Interaction, type RowLayout, steadyNowMs } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { EncodingErasure, RecordEncodings } from '@collectivekv/update-queue';

/** Erases users and interactions from records, by calls of the user-cache. */
export interface RecordEraser {
  /**
   * Deletes all records of a user, of every encoding, unreadable ones too.
   * @param validUntilMs returns the end of the next call's fence, as for `RecordWriter.append`
   * @returns the encodings under which the user had something
   * @throws deadline if the fence has ended
   */
  deleteUser(userId: string, validUntilMs: () => number): Promise<EncodingErasure[]>;
  /**
   * Deletes an interaction's position from the records of every encoding, and the unreadable records of its user as a
   * whole, since they may hold it. Finds the position by its event in the ring, otherwise by its encoded row. A record
   * is searched by the event only if its rows depend on the history, or no followed bundle has its encoding.
   * @param validUntilMs returns the end of the next call's fence, as for `RecordWriter.append`
   * @returns the encodings under which the user has something
   * @throws deadline if the fence has ended
   */
  forget(interaction: Interaction, validUntilMs: () => number): Promise<EncodingErasure[]>;
}

/** Options of {@link createRecordEraser}. */
export interface RecordEraserOptions {
  readonly bundles: Pick<BundleFollower, 'all'>;
  readonly recordEncodings: Pick<RecordEncodings, 'all'>;
  readonly userCache: GrpcClient<'UserCacheService'>;
  readonly timeoutMs: number;
}

/** Creates an eraser. */
export function createRecordEraser({
  bundles,
  recordEncodings,
  userCache,
  timeoutMs,
}: RecordEraserOptions): RecordEraser {
  const deadline = () => ({ deadlineMs: steadyNowMs() + timeoutMs });

  async function deleteRecords(userId: string, keepRecords: boolean, validUntilMs: () => number) {
    const followed = bundles.all().map(({ model }) => model.encodingId);
    if (followed.length === 0) throw new CkvError('dependency_unavailable', 'no bundle is loaded yet');
    const encodingIds = [...new Set([...followed, ...(await recordEncodings.all())])];
    const request = { userId, encodingIds, keepRecords, validUntilMs: validUntilMs() };
    return (await userCache.call('DeleteRecord', request, deadline())).encodings;
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
    encodingId: string,
    interaction: Interaction,
    validUntilMs: () => number,
  ): Promise<Pick<EncodingErasure, 'unreadableCount' | 'positionCount' | 'remainder'>> {
    const bundle = bundles.all().find(({ model }) => model.encodingId === encodingId);
    const match = await matchOf(bundle, interaction);
    const request = { encodingId, userId: interaction.userId, ...match, validUntilMs: validUntilMs() };
    try {
      const answer = await userCache.call('DeletePosition', request, deadline());
      if (answer.unreadable) return { unreadableCount: 1, positionCount: 0, remainder: 'nothing' };
      const { deleted, eventKnown, laterCount } = answer;
      const counts = { unreadableCount: 0, positionCount: deleted ? 1 : 0 };
      if (!deleted && !eventKnown) return { ...counts, remainder: 'not_found' };
      // An earlier try may have deleted the position. Without a bundle of the encoding, nobody knows whether it encodes
      // with history.
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
      return had.map(({ encodingId, record, unreadable, positionCount }) => ({
        encodingId,
        recordCount: record ? 1 : 0,
        unreadableCount: unreadable ? 1 : 0,
        positionCount,
        remainder: 'nothing',
      }));
    },

    async forget(interaction, validUntilMs) {
      const has = await deleteRecords(interaction.userId, true, validUntilMs);
      const erasures: EncodingErasure[] = [];
      for (const { encodingId, record, unreadable } of has) {
        const forgotten = record ? await forgetUnder(encodingId, interaction, validUntilMs) : NOTHING_FORGOTTEN;
        const unreadableCount = forgotten.unreadableCount + (unreadable ? 1 : 0);
        erasures.push({ ...forgotten, encodingId, recordCount: 0, unreadableCount });
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
