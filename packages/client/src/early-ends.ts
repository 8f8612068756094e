/**
 * Decides whether tries may end before their call's deadline. If one server of several hangs, most calls are answered,
 * and an early end leaves time for another server. If all servers are too slow, few calls are answered. Early ends would
 * then only repeat their work.
 */
export interface EarlyEnds {
  /** True while calls were answered about as often as tries ended early. */
  readonly allowed: boolean;
  /** Notes an answered call. */
  answered(): void;
  /** Notes a try that ended early. */
  ended(): void;
}

/** Early ends that are allowed without an answered call in between. */
const MOST = 100;

/** Creates the decision. It belongs to one client. */
export function createEarlyEnds(): EarlyEnds {
  let left = MOST;
  return {
    get allowed() {
      return left > 0;
    },
    answered() {
      left = Math.min(MOST, left + 1);
    },
    ended() {
      left = Math.max(0, left - 1);
    },
  };
}
