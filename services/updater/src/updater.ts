import { setTimeout as sleep } from 'node:timers/promises';
import { allDone, backoffMs, toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import type { Arrivals } from '@collectivekv/update-queue';
import type { PreparedBatch } from './batches/apply-waves.js';
import type { JobBatches, TakenJobs } from './batches/job-batches.js';
import type { HeldPartition, HeldPartitions } from './partitions/held-partitions.js';
import type { Warmer } from './warming/warmer.js';

/** Brings queued interactions into user records. */
export interface Updater {
  /** Finishes the batch in hand, gives the partitions back, and ends. */
  stop(): Promise<void>;
}

/** Parts of {@link startUpdater}. */
export interface UpdaterParts {
  /** Resolves when interactions can be encoded. Until then the updater holds no partition and takes no job. */
  readonly able: Promise<void>;
  readonly holdPartitions: () => HeldPartitions;
  /** Returns the number of waiting jobs of each partition, by one cheap read. */
  readonly waitingCounts: (partitions: readonly number[]) => Promise<number[]>;
  readonly arrivals: Arrivals;
  readonly batches: JobBatches;
  readonly warmer: Warmer;
  /** Returns the version of what is being warmed, by one cheap read. */
  readonly warmingVersion: () => Promise<number>;
  /** Returns the encodings whose records this process can write: those of the loaded bundles. */
  readonly writable: () => readonly string[];
  /** True while an append that failed may still arrive. */
  readonly mayBeLate: () => boolean;
  /** Receives the number of jobs that wait in the held partitions. */
  readonly onWaiting: (jobCount: number) => void;
  /** Receives the number of interactions in the event logs of the held partitions. */
  readonly onLogged: (count: number) => void;
  readonly log: Logger;
  /** Aborted by {@link Updater.stop}; ends the retries of the batches. */
  readonly stopping: AbortController;
}

/** Longest wait for jobs. After it the updater looks for new partitions. */
const IDLE_MS = 250;
/** How often a queue that looks empty is asked for jobs: its waiting list omits delayed and prioritised jobs. */
const SWEEP_MS = 1_000;
/** How often the event logs drop what is too old. */
const TRIM_MS = 60_000;
/** Fewest and most jobs to take from a partition at once. With fewer, the fixed cost of a batch dominates. */
const TAKE_JOBS = [8, 64] as const;
/** A batch that takes longer makes the next one smaller, so that one partition's backlog does not delay the others. */
const BATCH_MS = 100;
/** Pauses after a failure. */
const RETRY_PAUSE = { firstMs: 50, longestMs: 2_000 } as const;

/** Starts the updater's one loop: it takes and prepares a batch of jobs while the previous batch is applied. */
export function startUpdater({
  able,
  holdPartitions,
  waitingCounts,
  arrivals,
  batches,
  warmer,
  warmingVersion,
  writable,
  mayBeLate,
  onWaiting,
  onLogged,
  log,
  stopping,
}: UpdaterParts): Updater {
  const { signal } = stopping;
  let sweptMs = 0;
  let trimmedMs = Number.NEGATIVE_INFINITY;
  let takeCount: number = TAKE_JOBS[0];
  /** True if live jobs waited as the updater looked last. */
  let busy = false;
  /** The version of what is being warmed, as all held partitions know it; undefined if one does not. */
  let armedVersion: number | undefined;
  /** The encodings that this process could write as it armed them. */
  let armedFor = '';
  let lookedMs = Number.NEGATIVE_INFINITY;

  async function takeJobs(held: readonly HeldPartition[]): Promise<TakenJobs[]> {
    if (held.length === 0) return [];
    const waiting = await waitingCounts(held.map(({ fence }) => fence.partition));
    const total = waiting.reduce((sum, count) => sum + count, 0);
    busy = total > 0;
    onWaiting(total);
    const sweep = performance.now() - sweptMs > SWEEP_MS;
    if (sweep) sweptMs = performance.now();
    const takes = held.map(async ({ queue, fence }, i) => {
      const count = Math.min(takeCount, Math.max(waiting[i] ?? 0, sweep ? 1 : 0));
      return { queue, fence, jobs: count > 0 ? await queue.take(count) : [] };
    });
    return (await allDone(takes)).filter(({ jobs }) => jobs.length > 0);
  }

  async function trimLogs(held: readonly HeldPartition[]): Promise<void> {
    if (held.length === 0 || performance.now() - trimmedMs < TRIM_MS) return;
    const counts = await allDone(held.map(({ queue }) => queue.trimLog()));
    trimmedMs = performance.now();
    onLogged(counts.reduce((sum, count) => sum + count, 0));
  }

  /** True if the partitions may not know what is being warmed, or what this process can write. Looks once a second. */
  async function mustArm(held: readonly HeldPartition[]): Promise<boolean> {
    if (held.length === 0) return false;
    if (armedVersion === undefined || writable().join() !== armedFor) return true;
    if (performance.now() - lookedMs < SWEEP_MS) return false;
    lookedMs = performance.now();
    return (await warmingVersion()) !== armedVersion;
  }

  /** Tells the held partitions what is being warmed. Call it with no batch in hand. */
  async function arm(held: readonly HeldPartition[]): Promise<void> {
    const arms = !mayBeLate();
    const encodingIds = writable();
    const states = await allDone(held.map(({ queue }) => queue.warming.arm(arms, encodingIds)));
    const known = states.every(({ version, begun }) => version === states[0]?.version && !begun);
    armedVersion = known ? states[0]?.version : undefined;
    armedFor = encodingIds.join();
    lookedMs = performance.now();
  }

  async function work(): Promise<void> {
    await settledOrAborted(able, signal);
    if (signal.aborted) return;
    const partitions = holdPartitions();
    await workOn(partitions);
    await partitions.stop();
  }

  async function workOn(partitions: HeldPartitions): Promise<void> {
    let failureCount = 0;
    let held: readonly HeldPartition[] = [];
    let inHand: Promise<void> = Promise.resolve(); // the batch that is being applied
    let inHandFailed = false;
    while (!signal.aborted) {
      try {
        if (inHandFailed) await inHand; // throws: without this an idle updater would not see the failure
        if (partitions.isDue()) {
          await inHand;
          held = await partitions.settle();
          armedVersion = undefined;
        }
        if (await mustArm(held)) {
          await inHand;
          await arm(held);
        }
        if (warmer.dueInMs(held) === 0) {
          await inHand;
          await warmer.step(held, busy);
        }
        await trimLogs(held);
        const taken = await takeJobs(held);
        if (taken.length > 0) {
          const batch = await batches.prepare(taken);
          await inHand;
          inHand = apply(batch).then(() => {
            failureCount = 0;
          });
          inHand.catch(() => {
            inHandFailed = true;
          });
        } else if (held.some(({ queue }) => queue.isErasing())) {
          await inHand; // the jobs behind an erasure can be taken after it
        } else {
          const partitionsHeld = held.map(({ fence }) => fence.partition);
          const waitMs = Math.min(IDLE_MS, warmer.dueInMs(held));
          if (waitMs > 0) await settledOrAborted(arrivals.wait(partitionsHeld, Math.ceil(waitMs)), signal);
        }
      } catch (thrown) {
        logFailure(thrown);
        await inHand.catch(() => undefined);
        inHand = Promise.resolve();
        inHandFailed = false;
        // Jobs may have been taken without an answer. Opening a partition again puts its taken jobs back.
        await partitions.closeAll();
        held = [];
        failureCount++;
        await pause(backoffMs(failureCount, RETRY_PAUSE));
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

/** Resolves when `work` does or when the signal aborts. Leaves no listener on the signal. */
function settledOrAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
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
