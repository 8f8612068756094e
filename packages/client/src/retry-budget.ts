/** What a try follows: a refusal as `overloaded`, or any other failure. */
export type RetryKind = 'afterRefusal' | 'afterFailure';

/**
 * Bounds how many tries are repeated. If each failed try were sent again, callers would multiply an overload, and would
 * all come at once to a service that has just started.
 *
 * A service that refuses calls as `overloaded` has more of them than it can answer, so few are tried again. After any
 * other failure another server may answer. As long as one server of several does, there are as many tries as are
 * needed.
 */
export interface RetryBudget {
  /**
   * True while calls are answered about as often as tries fail: then a try may end early, and leave time for another.
   */
  readonly endsEarly: boolean;
  /** Notes an answered call. */
  answered(): void;
  /** Takes one try. False if none of its kind is left. */
  take(kind: RetryKind): boolean;
}

/**
 * Tries that are allowed without an answered call in between, after refusals and after other failures. When the only
 * server restarts, every call in flight needs all its tries at once: 1,000 are enough for some 200 calls.
 */
const MOST = { afterRefusal: 100, afterFailure: 1_000 };
/** Tries that each answered call allows. */
const PER_ANSWER = { afterRefusal: 0.1, afterFailure: 1 };

/** Creates a budget. It belongs to one client and one service. */
export function createRetryBudget(): RetryBudget {
  const left = { ...MOST };
  const kinds = ['afterRefusal', 'afterFailure'] as const;
  return {
    get endsEarly() {
      return left.afterFailure >= 1;
    },
    answered() {
      for (const kind of kinds) left[kind] = Math.min(MOST[kind], left[kind] + PER_ANSWER[kind]);
    },
    take(kind) {
      if (left[kind] < 1) return false;
      left[kind]--;
      return true;
    },
  };
}
