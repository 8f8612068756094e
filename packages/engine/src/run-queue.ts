import { CkvError, type RunExtent, steadyNowMs, type Tensors, type UserBatches } from '@collectivekv/domain';
import type { RunTimes } from './run-times.js';

/** Limits of a run, read when its turn comes. */
export interface RunLimits {
  /** Latest start, Unix ms; default none. */
  readonly deadlineMs?: number | undefined;
  /** Why the caller stopped waiting; undefined while it waits. */
  readonly ended?: CkvError | undefined;
  /**
   * True runs on the spare worker, one run at a time, so that requests do not wait for the run. Without a spare worker
   * it is a run like others. Default: false.
   */
  readonly background?: boolean | undefined;
}

/** How waiting runs of one graph become one run of another. */
export interface Batching extends UserBatches {
  /** The graph that runs a batch: its name, or its key in a queue. */
  readonly graph: string;
}

/** A batching, and what its runs have taken: batches, and those that ran alone. */
export interface TimedBatching extends Batching {
  readonly times: RunTimes;
}

/** A graph and its inputs. */
export interface GraphRun {
  /** The graph's key. */
  readonly graph: string;
  readonly feeds: Tensors;
  /** True copies large feeds instead of transferring them: another run needs them as well. */
  readonly keepFeeds: boolean;
  /** Joins this run with waiting runs that have the same batching. Undefined runs it alone. */
  readonly batching?: TimedBatching | undefined;
}

/** A run that waits for a worker. */
export interface QueuedRun {
  readonly run: GraphRun;
  readonly limits: RunLimits;
  resolve(outputs: Tensors): void;
  reject(error: unknown): void;
}

/** A bounded first-in, first-out queue. Runs whose deadline passed or whose caller left are skipped and rejected. */
export interface RunQueue {
  readonly length: number;
  /**
   * Adds a run. The promise settles as the run does.
   * @throws overloaded if the queue is full; deadline or `limits.ended` if the run is skipped
   */
  push(run: GraphRun, limits: RunLimits): Promise<Tensors>;
  /**
   * Removes and returns the first run that is still wanted, with all that fit its batch. If some of them would be late
   * by the whole batch, but not alone, the earliest deadline among theirs bounds the batch, and they are its first runs.
   * Returns none while a batch has fewer than `least`.
   * @param startMs when the runs would start, by the steady clock. Default: now
   */
  take(least: number, startMs?: number): QueuedRun[];
  /** Puts runs that were taken back to the front, each to run alone. */
  putBack(runs: readonly QueuedRun[]): void;
  rejectAll(error: CkvError): void;
}

const RETRY_AFTER_MS = 20;

interface Entry extends QueuedRun {
  /** Empty for a run without batching. */
  readonly extent: RunExtent;
}

/** Creates a queue for at most `limit` runs. */
export function createRunQueue(limit: number): RunQueue {
  let entries: Entry[] = [];

  return {
    get length() {
      return entries.length;
    },
    push(run, limits) {
      return new Promise((resolve, reject) => {
        if (entries.length >= limit) entries = entries.filter(isWanted);
        if (entries.length >= limit) {
          const text = `${limit} graph runs wait already, which is the limit; send less, or add replicas`;
          return reject(new CkvError('overloaded', text, { retryAfterMs: RETRY_AFTER_MS }));
        }
        entries.push({ run, limits, extent: run.batching?.extentOf(run.feeds) ?? [], resolve, reject });
      });
    },
    take(least, startMs = steadyNowMs()) {
      while (entries[0] && !isWanted(entries[0])) entries.shift();
      const first = entries[0];
      if (!first) return [];
      const { batching } = first.run;
      if (!batching) {
        entries.shift();
        return [first];
      }
      if (entries.length < least) return [];
      entries = entries.filter(isWanted);
      const batch = batchOf(entries, batching, startMs);
      if (batch.length < least) return [];
      const taken = new Set<QueuedRun>(batch);
      entries = entries.filter((entry) => !taken.has(entry));
      return batch;
    },
    putBack(runs) {
      entries.unshift(...runs.map((one) => ({ ...one, run: { ...one.run, batching: undefined }, extent: [] })));
    },
    rejectAll(error) {
      for (const { reject } of entries) reject(error);
      entries = [];
    },
  };
}

/** Returns the first run with this batching and those that fit its batch, in order; see take for those with deadlines. */
function batchOf(entries: readonly Entry[], batching: TimedBatching, startMs: number): Entry[] {
  const open = batching.open();
  const batch = entries.filter(({ run, extent }) => run.batching === batching && open.add(extent));
  const isInTime = ({ limits }: QueuedRun, cellCount: number) =>
    startMs + batching.times.expectedMs(cellCount) <= deadlineOf(limits);
  const cellCount = batching.cellCountOf(batch.map(({ extent }) => extent));
  const urgent = batch
    .filter((one) => !isInTime(one, cellCount) && isInTime(one, batching.cellCountOf([one.extent])))
    .sort((a, b) => deadlineOf(a.limits) - deadlineOf(b.limits));
  const [earliest] = urgent;
  if (!earliest) return batch;
  const smaller = batching.open((count) => isInTime(earliest, count));
  return [...urgent, ...batch.filter((one) => !urgent.includes(one))].filter(({ extent }) => smaller.add(extent));
}

function deadlineOf({ deadlineMs = Number.POSITIVE_INFINITY }: RunLimits): number {
  return deadlineMs;
}

/** True if the run is still wanted. Rejects the run otherwise. */
function isWanted({ limits, reject }: QueuedRun): boolean {
  const refusal = unwanted(limits);
  if (refusal) reject(refusal);
  return !refusal;
}

/** Returns the error of a run that need not start: its caller left, or its deadline passed. Undefined otherwise. */
export function unwanted(limits: RunLimits): CkvError | undefined {
  if (limits.ended) return limits.ended;
  return steadyNowMs() >= deadlineOf(limits)
    ? new CkvError('deadline', 'the deadline passed before the graph ran')
    : undefined;
}
