/** Counts of a verdict. */
export const COUNTS = ['lost', 'duplicated', 'outOfOrder', 'stuck', 'wrongScores', 'failedRequests'] as const;
/** A count of a verdict. */
export type Count = (typeof COUNTS)[number];

/** Counts of what is wrong with records. A fault may be allowed to break them for some interactions. */
export const RECORD_COUNTS = ['lost', 'duplicated', 'outOfOrder'] as const;
/** A count of what is wrong with records. */
export type RecordCount = (typeof RECORD_COUNTS)[number];

/** Something that is wrong. */
export interface Problem {
  /** The fault after which it was seen; empty if there was none. */
  readonly fault: string;
  readonly what: string;
  /** What it adds to the counts. A problem may add nothing, as a fault that does not end well. */
  readonly counts: Partial<Readonly<Record<Count, number>>>;
}

/** What the oracle found. A promise was broken if there is a problem. */
export interface Verdict {
  /** Accepted interactions that took no effect. */
  readonly lost: number;
  /** Interactions that took effect more than once, or although they were forgotten. */
  readonly duplicated: number;
  /** Interactions that took effect out of their user's order. */
  readonly outOfOrder: number;
  /** Jobs that did not go away after the fault. */
  readonly stuck: number;
  /**
   * Answers on the full rung with scores of no history that they may have had; answers on a lower rung without a
   * reason.
   */
  readonly wrongScores: number;
  /** Rank requests that failed in spite of the SDK's retries. */
  readonly failedRequests: number;
  /** What the promise allows under the faults: the same counts, which are not in those above. */
  readonly allowed: Readonly<Record<RecordCount, number>>;
  readonly problems: readonly Problem[];
}

/** A verdict that grows. */
export interface OpenVerdict extends Verdict {
  /** Adds a problem and its counts. */
  add(problem: Problem): void;
  /** Adds counts that the promise allows. */
  allow(counts: Readonly<Record<RecordCount, number>>): void;
}

/** Returns a verdict without any finding. */
export function createVerdict(): OpenVerdict {
  const counts = { lost: 0, duplicated: 0, outOfOrder: 0, stuck: 0, wrongScores: 0, failedRequests: 0 };
  const allowed = { lost: 0, duplicated: 0, outOfOrder: 0 };
  const problems: Problem[] = [];
  const open = { ...counts, allowed, problems };
  return Object.assign(open, {
    add(problem: Problem) {
      problems.push(problem);
      for (const count of COUNTS) open[count] += problem.counts[count] ?? 0;
    },
    allow(more: Readonly<Record<RecordCount, number>>) {
      for (const count of RECORD_COUNTS) allowed[count] += more[count];
    },
  });
}
