/** What the scores of a request depend on: Explanation in ranking.proto. Position 0 is the oldest. */
export interface Explanation {
  /**
   * `attention`: by the bundle's explain graph. `leave_one_out`: without it; there are only scores without single
   * positions, the newest ones.
   */
  readonly method: 'attention' | 'leave_one_out';
  /** The parts of the model's attention, with the heads of each. Empty unless the method is `attention`. */
  readonly parts: readonly { readonly name: string; readonly headCount: number }[];
  /** The group of each position; attention gives a group one weight. Empty unless the method is `attention`. */
  readonly groups: Uint32Array; // [positions]
  /** One for each candidate, in the request's order. */
  readonly candidates: readonly CandidateExplanation[];
}

/** What the score of a candidate depends on. */
export interface CandidateExplanation {
  readonly scoreWithoutHistory: number;
  /**
   * What each position adds to the score. With `scoreWithoutHistory` they add up to the score. Empty unless the method
   * is `attention`.
   */
  readonly contributions: Float32Array; // [positions]
  /** The part of each contribution that comes from the user KV. Empty unless the method is `attention`. */
  readonly ownContributions: Float32Array; // [positions]
  /** At most 10 positions one by one, those with the largest contributions first. */
  readonly positions: readonly ExplainedPosition[];
}

/** A position of an explanation. */
export interface ExplainedPosition {
  readonly index: number;
  /** Empty if the bundle's rows do not hold it. */
  readonly itemId: string;
  /** Routes and raw values of the row, by field. */
  readonly values: Readonly<Record<string, number>>;
  /** The weight of each head, 0 to 1, part by part. Empty unless the method is `attention`. */
  readonly attention: Float32Array; // [heads of all parts]
  readonly contribution: number;
  readonly ownContribution: number;
  /** The score that the candidate would have if the record lacked this position. */
  readonly scoreWithout: number;
}
