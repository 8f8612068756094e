import { CkvError, steadyNowMs, type Tensors } from '@collectivekv/domain';

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

/** A graph and its inputs. */
export interface GraphRun {
  /** The graph's key. */
  readonly graph: string;
  readonly feeds: Tensors;
  /** True copies large feeds instead of transferring them: another run needs them as well. */
  readonly keepFeeds: boolean;
}

/** A run that waits for a worker. */
export interface QueuedRun extends GraphRun {
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
  /** Removes and returns the first run that is still wanted. */
  shift(): QueuedRun | undefined;
  rejectAll(error: CkvError): void;
}

const RETRY_AFTER_MS = 20;

interface Entry {
  readonly run: QueuedRun;
  readonly limits: RunLimits;
}

/** Creates a queue for at most `limit` runs. */
export function createRunQueue(limit: number): RunQueue {
  let entries: Entry[] = [];

  /** True if the run is still wanted. Rejects the run otherwise. */
  function isWanted({ run, limits }: Entry): boolean {
    const refusal = unwanted(limits);
    if (refusal) run.reject(refusal);
    return !refusal;
  }

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
        entries.push({ run: { ...run, resolve, reject }, limits });
      });
    },
    shift() {
      for (let entry = entries.shift(); entry; entry = entries.shift()) if (isWanted(entry)) return entry.run;
      return undefined;
    },
    rejectAll(error) {
      for (const { run } of entries) run.reject(error);
      entries = [];
    },
  };
}

/** Returns the error of a run that need not start: its caller left, or its deadline passed. Undefined otherwise. */
export function unwanted({ deadlineMs = Number.POSITIVE_INFINITY, ended }: RunLimits): CkvError | undefined {
  if (ended) return ended;
  return steadyNowMs() >= deadlineMs ? new CkvError('deadline', 'the deadline passed before the graph ran') : undefined;
}
