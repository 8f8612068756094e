import { toCkvError } from '@collectivekv/domain';
import {
  type EncodingErasure,
  type Erasure,
  type ErasureJob,
  erasureOf,
  type PartitionQueue,
  type Receipts,
  subjectOf,
} from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';
import type { Fence } from '../partitions/fence.js';
import type { RecordWriter } from '../records/record-writer.js';
import type { EraseWave } from './append-plan.js';
import type { LateCalls } from './late-calls.js';
import { isTransient, type RetryWhileHeld } from './retry-while-held.js';
import { type SetAside, unlessForeign } from './set-aside.js';

/**
 * Settles a job that erases a user or an interaction: from the records, and from all jobs that no consumer has. The job
 * comes in turn: earlier jobs of the user are settled, later ones are not begun.
 * @throws transient errors
 */
export type Erase = (work: { readonly queue: PartitionQueue; readonly fence: Fence }, wave: EraseWave) => Promise<void>;

/** Parts of {@link createErase}. */
export interface EraseParts {
  readonly writer: Pick<RecordWriter, 'deleteUser' | 'forget'>;
  readonly receipts: Pick<Receipts, 'begin' | 'finish'>;
  readonly partitionCount: number;
  readonly retryWhileHeld: RetryWhileHeld;
  readonly setAside: SetAside;
  readonly lateCalls: LateCalls;
  /** Ends waits. */
  readonly signal: AbortSignal;
  readonly metrics: Pick<UpdaterMetrics, 'interactions' | 'jobs'>;
}

/** Creates the function. */
export function createErase({
  writer,
  receipts,
  partitionCount,
  retryWhileHeld,
  setAside,
  lateCalls,
  signal,
  metrics,
}: EraseParts): Erase {
  async function eraseFromRecords(job: ErasureJob, fence: Fence): Promise<EncodingErasure[]> {
    const { userId } = subjectOf(job);
    if (job.kind === 'delete') await lateCalls.beforeDeletion(userId, signal);
    try {
      const validUntilMs = () => fence.validUntilMs();
      if (job.kind === 'delete') return await writer.deleteUser(userId, validUntilMs);
      return await writer.forget(job.interaction, validUntilMs);
    } catch (thrown) {
      if (isTransient(toCkvError(thrown))) lateCalls.removalFailed(userId, fence.endedByMs());
      throw thrown;
    }
  }

  /**
   * Finishes the receipts of other erasures of the same subject that were set aside: they have no more to do. They
   * erased nothing, and what may remain is what remains after this one.
   */
  async function finishOthers(others: readonly Erasure[], own: Erasure | undefined, found: readonly EncodingErasure[]) {
    const encodings = found
      .filter(({ remainder }) => remainder !== 'nothing')
      .map((one) => ({ ...one, recordCount: 0, unreadableCount: 0, positionCount: 0 }));
    for (const other of others) {
      if (other.receiptId === own?.receiptId) continue;
      await unlessForeign(receipts.finish(other, { encodings, setAsideCount: 0, waitingCount: 0, keptCount: 0 }));
    }
  }

  return async ({ queue, fence }, { taken, job }) => {
    const subject = subjectOf(job);
    const erasure = erasureOf(job);
    const found = new Map<string, EncodingErasure>();
    const counts = { setAsideCount: 0, waitingCount: 0, keptCount: 0 };

    /** @returns false if the erasure was done before: the job came again, and newer interactions stay */
    async function eraseOnce(): Promise<boolean> {
      if (erasure && (await receipts.begin(erasure)).state === 'done') return false;
      for (const one of await eraseFromRecords(job, fence))
        found.set(one.encodingId, joined(found.get(one.encodingId), one));
      const finishErasures = (others: readonly Erasure[]) => finishOthers(others, erasure, [...found.values()]);
      const jobs = await queue.erase(subject, partitionCount, finishErasures);
      counts.setAsideCount += jobs.setAsideCount;
      counts.waitingCount += jobs.waitingCount;
      counts.keptCount += jobs.keptCount;
      if (erasure) await receipts.finish(erasure, { encodings: [...found.values()], ...counts });
      return true;
    }

    try {
      await retryWhileHeld([fence], eraseOnce);
      const forgot = job.kind === 'forget' && [...found.values()].some(({ positionCount }) => positionCount > 0);
      metrics.interactions.inc({ outcome: 'forgotten' }, forgot ? 1 : 0);
      await queue.complete([taken]);
      metrics.jobs.inc({ outcome: 'done' });
    } catch (thrown) {
      const error = toCkvError(thrown);
      if (isTransient(error)) throw error;
      await setAside(queue, taken, error);
    }
  };
}

/** Returns what two tries erased under one encoding. What remains is what the later try found. */
function joined(earlier: EncodingErasure | undefined, later: EncodingErasure): EncodingErasure {
  if (!earlier) return later;
  return {
    ...later,
    recordCount: Math.max(earlier.recordCount, later.recordCount),
    unreadableCount: Math.max(earlier.unreadableCount, later.unreadableCount),
    positionCount: Math.max(earlier.positionCount, later.positionCount),
  };
}
