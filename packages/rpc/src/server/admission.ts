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
 * Decides how many requests are worked on at once. The others wait, first come, first served. If requests wait without
 * a break, more come than the service can answer: then fewer may wait, and the others are refused at once.
 */
export interface Admission {
  /** Requests that are worked on. A request whose caller left counts until its work has ended. */
  readonly startedCount: number;
  /** Requests that wait. Some of their callers may have left. */
  readonly waitingCount: number;
  /** True if a request that comes now is refused. */
  readonly full: boolean;
  /** Counts a request as refused, and returns why. */
  refuse(): CkvError;
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
  /** How many requests are worked on at once under high load: at least, and at most. Read whenever it matters. */
  readonly started: { readonly least: number; readonly most: number };
  /** Most requests that wait. */
  readonly mostWaiting: number;
  /**
   * Most requests that wait after a time in which some waited without a break: more come than the service can answer.
   * Read whenever it matters. Default, and least: 32.
   */
  readonly mostStanding?: number | undefined;
  /** The clock, ms. Default: `steadyNowMs`. */
  readonly nowMs?: () => number;
}

/** Every so often it is judged from the time before how many requests may wait. Counts twice as old are not used. */
const JUDGE_MS = 100;
const MOST_STANDING = 32;
/** Most requests that wait after a time in which half or more were refused, and many: others are there at once. */
const MOST_FLOODED = 8;
/** While the service has spare capacity, one more request is begun in this time. */
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
  let most = mostWaiting;
  let startedCount = 0;
  let limit = started.least;
  let grownMs = 0;
  /** Since the last judgement: requests refused and begun, and whether at some time none waited. */
  let [refusedCount, begunCount, emptied] = [0, 0, true];
  let judgedMs = 0;
  /** True if waiting requests begin at the end of this turn of the event loop. */
  let beginning = false;
  /** Begins waiting requests while there is spare capacity, although none comes or ends. */
  let growing: NodeJS.Timeout | undefined;

  function judge(): void {
    const now = nowMs();
    const sinceMs = now - judgedMs;
    if (sinceMs < JUDGE_MS) return;
    const fresh = sinceMs < 2 * JUDGE_MS;
    const flooded = fresh && refusedCount >= Math.max(begunCount, MOST_STANDING);
    if (flooded) most = MOST_FLOODED;
    else most = emptied ? mostWaiting : Math.max(MOST_STANDING, options.mostStanding ?? 0);
    most = Math.min(most, mostWaiting);
    // A flood fills all places before it is known as one. Those at the end would wait for long.
    if (flooded) for (const { refuse } of waiting.splice(most)) refuse(OVERLOADED);
    judgedMs = now;
    refusedCount = 0;
    begunCount = 0;
    emptied = waiting.length === 0;
  }

  function isFull(): boolean {
    judge();
    if (waiting.length < most) return false;
    waiting = waiting.filter(isWanted);
    return waiting.length >= most;
  }

  function refuse(): CkvError {
    refusedCount++;
    return OVERLOADED;
  }

  function hasPlace(): boolean {
    limit = Math.max(limit, started.least);
    return startedCount < limit;
  }

  /** Begins the waiting requests whose turn it is. */
  function beginWaiting(): void {
    while (waiting.length > 0 && (hasPlace() || grow())) {
      const waiter = waiting.shift();
      if (waiter && isWanted(waiter)) waiter.start();
    }
    if (waiting.length > 0) {
      growing ??= setInterval(beginWaiting, GROWTH_MS).unref();
      return;
    }
    emptied = true;
    clearInterval(growing);
    growing = undefined;
  }

  /**
   * Begins them at the end of this turn of the event loop, once for all that come or end in it. The turn's answers
   * leave first. The requests that begin read their records in one round trip.
   */
  function beginSoon(): void {
    if (beginning) return;
    beginning = true;
    setImmediate(() => {
      beginning = false;
      beginWaiting();
    });
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
      if (waiting.length > 0) beginSoon();
    }
  }

  return {
    get startedCount() {
      return startedCount;
    },
    get waitingCount() {
      return waiting.length;
    },
    get full() {
      return isFull();
    },
    refuse,
    async run(limits, work) {
      const unwanted = unwantedBecause(limits);
      if (unwanted) throw unwanted;
      if (waiting.length === 0 && hasPlace()) return perform(work);
      if (isFull()) throw refuse();
      return new Promise((resolve, reject) => {
        const start = () => void perform(work).then(resolve, reject);
        waiting.push({ limits, start, refuse: reject });
        beginSoon();
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
