/** What the oracle counted. */
export interface Verdict {
  /** Accepted interactions that took no effect. */
  lost: number;
  /** Accepted interactions that took no effect, as `mayLose` of the fault allows. */
  lostWithinBound: number;
  /** Interactions that took effect more than once, or although they were forgotten. */
  duplicated: number;
  /** Interactions that took effect out of their user's order. */
  outOfOrder: number;
  /** Jobs that did not go away after the fault. */
  stuck: number;
  /** Answers on the full rung with scores of no history that they may have had. */
  wrongScores: number;
  /** Rank requests that failed in spite of the SDK's retries. */
  failedRequests: number;
  /** One line for everything that is wrong, each with the fault after which it was seen. */
  readonly problems: string[];
}

/** Counts of a verdict. */
export const COUNTS = ['lost', 'duplicated', 'outOfOrder', 'stuck', 'wrongScores', 'failedRequests'] as const;
/** A count of a verdict. */
export type Count = (typeof COUNTS)[number];

/** Returns a verdict without any finding. */
export function createVerdict(): Verdict {
  return {
    lost: 0,
    lostWithinBound: 0,
    duplicated: 0,
    outOfOrder: 0,
    stuck: 0,
    wrongScores: 0,
    failedRequests: 0,
    problems: [],
  };
}
