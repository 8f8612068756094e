import { CkvError, type Tensors } from '@collectivekv/domain';

/** When a run must start at the latest, and whether it is still wanted. Both are looked at when its turn comes. */
export interface RunLimits {
  /** Unix ms. */
  readonly deadlineMs?: number | undefined;
  /** Why the caller left; undefined while it waits. */
  readonly ended?: CkvError | undefined;
}

/** What to run. */
export interface GraphRun {
  readonly graph: string;
  readonly feeds: Tensors;
  /** Copies the feeds instead of giving large ones up: another run needs them, too. */
  readonly keepFeeds: boolean;
}

/** A run that waits for a worker. */
export interface QueuedRun extends GraphRun {
  resolve(outputs: Tensors): void;
  reject(error: unknown): void;
}

/** Runs in order of arrival, bounded; what is past its deadline or no longer wanted is left out. */
export interface RunQueue {
  readonly length: number;
  /** Settles as the run does. Rejects with overloaded at the bound, deadline or the caller's end when its turn comes. */
  push(run: GraphRun, limits: RunLimits): Promise<Tensors>;
  /** Takes the first that is still wanted. */
  shift(): QueuedRun | undefined;
  rejectAll(error: CkvError): void;
}

const RETRY_AFTER_MS = 20;

interface Entry {
  readonly run: QueuedRun;
  readonly limits: RunLimits;
}

/** Creates a queue. */
export function createRunQueue(limit: number): RunQueue {
  let entries: Entry[] = [];

  /** True where the run is still wanted; else it is rejected. */
  function isWanted({ run, limits }: Entry): boolean {
    const why = unwanted(limits);
    if (why) run.reject(why);
    return !why;
  }

  return {
    get length() {
      return entries.length;
    },
    push(run, limits) {
      return new Promise((resolve, reject) => {
        if (entries.length >= limit) entries = entries.filter(isWanted);
        if (entries.length >= limit) {
          const text = `${limit} graph runs wait already; send less, or add replicas`;
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

/** Why a run need not start: its deadline passed, or its caller left. */
export function unwanted({ deadlineMs = Number.POSITIVE_INFINITY, ended }: RunLimits): CkvError | undefined {
  if (ended) return ended;
  return Date.now() >= deadlineMs ? new CkvError('deadline', 'the deadline passed before the graph ran') : undefined;
}
