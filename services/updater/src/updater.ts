import { setTimeout as sleep } from 'node:timers/promises';
import { toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import type { Arrivals, PartitionQueue } from '@collectivekv/update-queue';
import type { HeldPartitions } from './held-partitions.js';
import { backoffMs, type JobBatches, type TakenJobs } from './job-batches.js';

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
/** Jobs taken from a partition at once, at least and at most. */
const TAKE_JOBS = [1, 64] as const;
/** A batch that took longer makes the next one smaller, so that no partition waits long for the backlog of another. */
const BATCH_MS = 100;

/** Starts the one loop: take jobs from the partitions held, work them off, again. */
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
      return { queue, jobs: count > 0 ? await queue.take(count) : [] };
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
    while (!signal.aborted) {
      try {
        const queues = await partitions.settle();
        const held = queues.map(({ partition }) => partition);
        const taken = await takeJobs(queues);
        if (taken.length > 0) {
          const startedMs = performance.now();
          await batches.process(taken);
          const wished = performance.now() - startedMs > BATCH_MS ? takeCount / 4 : takeCount * 2;
          takeCount = Math.min(TAKE_JOBS[1], Math.max(TAKE_JOBS[0], Math.floor(wished)));
        } else {
          await orAborted(arrivals.wait(held, IDLE_MS), signal);
        }
        failures = 0;
      } catch (thrown) {
        const error = toCkvError(thrown);
        log.warn({ reason: error.reason, problem: error.message, err: error.cause }, 'the queue cannot be worked on');
        await partitions.closeAll(); // it is unknown what was taken: opening them again puts it back
        await pause(backoffMs(failures++));
      }
    }
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
