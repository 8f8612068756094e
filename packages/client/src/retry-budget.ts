/**
 * Bounds how many refused calls are tried again. A service that refuses calls has more of them than it can answer: if
 * each were sent again, callers would multiply the overload.
 */
export interface RetryBudget {
  /** Notes an answered call. */
  answered(): void;
  /** Takes one try from the budget. False if none is left. */
  take(): boolean;
}

/** Tries after refusals that are allowed without an answered call in between. */
const MOST = 100;
/** Tries after refusals that each answered call allows. */
const PER_ANSWER = 0.1;

/** Creates a budget. It belongs to one client and one service. */
export function createRetryBudget(): RetryBudget {
  let left = MOST;
  return {
    answered() {
      left = Math.min(MOST, left + PER_ANSWER);
    },
    take() {
      if (left < 1) return false;
      left--;
      return true;
    },
  };
}
