import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import type { Arrivals, PartitionQueue } from '@collectivekv/update-queue';
import type { JobBatches, PreparedBatch, TakenJobs } from './batches/job-batches.js';
import type { HeldPartitions } from './partitions/held-partitions.js';

/** Brings queued interactions into user records. */
export interface Updater {
  /** Finishes the batch in hand, gives the partitions back, and ends. */
  stop(): Promise<void>;
}

/** What an updater works with. */
export interface UpdaterParts {
  /** Resolves when interactions can be encoded; until then nothing is held or taken. */
  readonly able: Promise<void>;
  readonly holdPartitions: () => HeldPartitions;
  /** Jobs that wait in each of the partitions, by one cheap read. */
  readonly waitingCounts: (partitions: readonly number[]) => Promise<number[]>;
  readonly arrivals: Arrivals;
  readonly batches: JobBatches;
  readonly onWaiting: (jobCount: number) => void;
  readonly log: Logger;
  /** Aborted by {@link Updater.stop}; ends what the batches retry. */
  readonly stopping: AbortController;
}

/** Longest pause between looks at empty queues: partitions may have come meanwhile. */
const IDLE_MS = 250;
/** Even a queue that looks empty is asked so often: delayed and prioritised jobs are not in its waiting list. */
const SWEEP_MS = 1_000;
/** Jobs taken from a partition at once, at the most: between these. With fewer, what a batch costs itself prevails. */
const TAKE_JOBS = [8, 64] as const;
/** A batch that took longer makes the next one smaller, so that no partition waits long for the backlog of another. */
const BATCH_MS = 100;

/** Pauses after a failure. */
const RETRY_PAUSE = { firstMs: 50, longestMs: 2_000 } as const;

/** Starts the one loop: take jobs from the partitions held and prepare them, while the batch before them is applied. */
export function startUpdater({
  able,
  holdPartitions,
  waitingCounts,
  arrivals,
  batches,
  onWaiting,
  log,
  stopping,
}: UpdaterParts): Updater {
  const { signal } = stopping;
  let sweptMs = 0;
  let takeCount: number = TAKE_JOBS[0];

  async function takeJobs(queues: readonly PartitionQueue[]): Promise<TakenJobs[]> {
    if (queues.length === 0) return [];
    const waiting = await waitingCounts(queues.map((queue) => queue.partition));
    onWaiting(waiting.reduce((sum, count) => sum + count, 0));
    const sweep = performance.now() - sweptMs > SWEEP_MS;
    if (sweep) sweptMs = performance.now();
    const takes = queues.map(async (queue, i) => {
      const count = Math.min(takeCount, Math.max(waiting[i] ?? 0, sweep ? 1 : 0));
      const takenMs = performance.now();
      return { queue, jobs: count > 0 ? await queue.take(count) : [], takenMs };
    });
    return (await Promise.all(takes)).filter(({ jobs }) => jobs.length > 0);
  }

  async function work(): Promise<void> {
    await orAborted(able, signal);
    if (signal.aborted) return;
    const partitions = holdPartitions();
    await workOn(partitions);
    await partitions.stop();
  }

  async function workOn(partitions: HeldPartitions): Promise<void> {
    let failures = 0;
    let queues: readonly PartitionQueue[] = [];
    let inHand: Promise<void> = Promise.resolve(); // the batch that is being applied
    while (!signal.aborted) {
      try {
        if (partitions.isDue()) {
          await inHand;
          queues = await partitions.settle();
        }
        const taken = await takeJobs(queues);
        if (taken.length > 0) {
          const batch = await batches.prepare(taken);
          await inHand;
          inHand = apply(batch).then(() => {
            failures = 0;
          });
          inHand.catch(() => undefined); // it is thrown where it is awaited
        } else {
          const held = queues.map(({ partition }) => partition);
          await orAborted(arrivals.wait(held, IDLE_MS), signal);
        }
      } catch (thrown) {
        logFailure(thrown);
        await inHand.catch(() => undefined);
        inHand = Promise.resolve();
        await partitions.closeAll(); // it is unknown what was taken: opening them again puts it back
        await pause(backoffMs(++failures, RETRY_PAUSE));
      }
    }
    await inHand.catch(logFailure);
  }

  async function apply(batch: PreparedBatch): Promise<void> {
    const startedMs = performance.now();
    await batches.apply(batch);
    const ratio = BATCH_MS / (performance.now() - startedMs);
    const wished = Math.floor(takeCount * Math.min(2, Math.max(0.25, ratio)));
    takeCount = Math.min(TAKE_JOBS[1], Math.max(TAKE_JOBS[0], wished));
  }

  function logFailure(thrown: unknown): void {
    const error = toCkvError(thrown);
    log.warn({ reason: error.reason, problem: error.message, err: error.cause }, 'the queue cannot be worked on');
  }

  async function pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  }

  const working = work();
  return {
    async stop() {
      stopping.abort();
      await working;
    },
  };
}

/** Resolves as `work` does, or when the signal aborts; leaves nothing hanging on the signal. */
function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      signal.removeEventListener('abort', settle);
      resolve();
    };
    signal.addEventListener('abort', settle);
    if (signal.aborted) settle();
    void work.then(settle);
  });
}
