import { CkvError, steadyNowMs } from '@collectivekv/domain';

/**
 * What the service can take:
 * - `spare`: a part of it waits for work.
 * - `busy`: it has enough work.
 * - `full`: it has more work than it needs to stay busy.
 */
export type Load = 'spare' | 'busy' | 'full';

/** When a request is no longer wanted. A CallContext fulfils it. */
export interface AdmissionLimits {
  /** By `steadyNowMs`. */
  readonly deadlineMs: number;
  /** Why the caller stopped waiting; undefined while it waits. */
  readonly ended?: CkvError | undefined;
}

/**
 * Decides how many requests are worked on at once. The others wait, first come, first served. If requests wait without a
 * break, more come than the service can answer: then fewer may wait, and the others are refused at once.
 */
export interface Admission {
  /** Requests that are worked on. A request whose caller left counts until its work has ended. */
  readonly startedCount: number;
  /** Requests that wait. Some of their callers may have left. */
  readonly waitingCount: number;
  /** Returns why a request that comes now is refused; undefined if it is not. */
  refusal(): CkvError | undefined;
  /**
   * Runs the work of a request when its turn comes.
   * @throws overloaded with a delay; deadline or `limits.ended` if the request is not wanted when its turn comes
   */
  run<T>(limits: AdmissionLimits, work: () => Promise<T>): Promise<T>;
}

/** Options of {@link createAdmission}. */
export interface AdmissionOptions {
  /** Returns the load of the service. Called when a request has to wait, and when one ends. */
  readonly load: () => Load;
  /** How many requests are worked on at once under high load: at least, and at most. */
  readonly started: { readonly least: number; readonly most: number };
  /** Most requests that wait. */
  readonly mostWaiting: number;
  /** The clock, ms. Default: `steadyNowMs`. */
  readonly nowMs?: () => number;
}

/** If requests wait without a break for this time, more come than the service can answer. */
const BURST_MS = 100;
/** Most requests that wait while more come than the service can answer. */
const MOST_STANDING = 32;
/** While the service has spare capacity, one more request is started in this time. */
const GROWTH_MS = 1;
/** Shared by all refusals: an error of its own, with its stack, would take longer than the rest of a refusal. */
const OVERLOADED = new CkvError(
  'overloaded',
  'more requests come than the service can answer; send less, or add replicas',
  { retryAfterMs: 100 },
);

interface Waiter {
  readonly limits: AdmissionLimits;
  start(): void;
  refuse(error: CkvError): void;
}

/** Creates an admission. At first it lets in the least number of requests; while there is spare capacity, more. */
export function createAdmission(options: AdmissionOptions): Admission {
  const { load, started, mostWaiting, nowMs = steadyNowMs } = options;
  let waiting: Waiter[] = [];
  let waitingSinceMs = 0;
  let emptiedMs = 0;
  let overloaded = false;
  /** Requests refused and begun since the last time that none waited. */
  let [refusedCount, begunCount] = [0, 0];
  let startedCount = 0;
  let limit = started.least;
  let grownMs = 0;

  function enqueue(waiter: Waiter): void {
    if (waiting.length === 0) {
      waitingSinceMs = nowMs();
      if (waitingSinceMs - emptiedMs >= BURST_MS) overloaded = false;
    }
    waiting.push(waiter);
  }

  function refusal(): CkvError | undefined {
    if (!overloaded && waiting.length > 0 && nowMs() - waitingSinceMs >= BURST_MS) {
      overloaded = true;
      // A flood fills the places before it is known as one. Those at the end would wait for long.
      if (refusedCount > 0) for (const { refuse } of waiting.splice(MOST_STANDING)) refuse(OVERLOADED);
    }
    const most = overloaded ? Math.min(MOST_STANDING, mostWaiting) : mostWaiting;
    if (waiting.length < most) return undefined;
    waiting = waiting.filter(isWanted);
    if (waiting.length < most) return undefined;
    refusedCount++;
    return OVERLOADED;
  }

  /** Begins the waiting requests whose turn it is. */
  function beginWaiting(): void {
    while (waiting.length > 0 && (startedCount < limit || grow())) {
      const waiter = waiting.shift();
      if (waiter && isWanted(waiter)) waiter.start();
      if (waiting.length === 0) onEmptied();
    }
  }

  /** Under overload a moment without waiting requests is chance: most are refused before and after it. */
  function onEmptied(): void {
    overloaded = refusedCount >= begunCount;
    refusedCount = 0;
    begunCount = 0;
    emptiedMs = nowMs();
  }

  /** Raises the limit if there is spare capacity. Returns whether it did. */
  function grow(): boolean {
    if (limit >= started.most || nowMs() - grownMs < GROWTH_MS || load() !== 'spare') return false;
    limit++;
    grownMs = nowMs();
    return true;
  }

  async function perform<T>(work: () => Promise<T>): Promise<T> {
    startedCount++;
    begunCount++;
    try {
      return await work();
    } finally {
      if (load() === 'full') limit = Math.max(started.least, Math.min(limit, startedCount) - 1);
      startedCount--;
      beginWaiting();
    }
  }

  return {
    get startedCount() {
      return startedCount;
    },
    get waitingCount() {
      return waiting.length;
    },
    refusal,
    async run(limits, work) {
      const unwanted = unwantedBecause(limits);
      if (unwanted) throw unwanted;
      if (waiting.length === 0 && startedCount < limit) return perform(work);
      const refused = refusal();
      if (refused) throw refused;
      return new Promise((resolve, reject) => {
        const start = () => void perform(work).then(resolve, reject);
        enqueue({ limits, start, refuse: reject });
        beginWaiting();
      });
    },
  };
}

/** True if the request is still wanted. Refuses it otherwise. */
function isWanted({ limits, refuse }: Waiter): boolean {
  const unwanted = unwantedBecause(limits);
  if (unwanted) refuse(unwanted);
  return !unwanted;
}

function unwantedBecause({ deadlineMs, ended }: AdmissionLimits): CkvError | undefined {
  if (ended) return ended;
  if (steadyNowMs() < deadlineMs) return undefined;
  return new CkvError('deadline', 'the deadline passed before the request was begun');
}
