/** How the positions that an explanation shows were chosen. */
export type ExplanationMethod =
  /** By the bundle's explain graph: those with the largest contributions. */
  | 'attention'
  /** The newest ones, because no explain graph was used. */
  | 'leave_one_out';

/** Heads that attend to the same positions. */
export interface AttentionPart {
  readonly name: string;
  readonly headCount: number;
}

/** What the scores of a request depend on. Position 0 is the oldest. */
export interface Explanation {
  readonly method: ExplanationMethod;
  /** Empty unless the method is `attention`. */
  readonly parts: readonly AttentionPart[];
  /** The group of each position; attention gives a group one weight. Empty unless the method is `attention`. */
  readonly groups: Uint32Array; // [positions]
  readonly candidates: readonly CandidateExplanation[];
}

/** What the score of a candidate depends on. */
export interface CandidateExplanation {
  readonly scoreWithoutHistory: number;
  /** What each position adds to the score. Empty unless the method is `attention`. */
  readonly contributions: Float32Array; // [positions]
  /** The part of each contribution that comes from the user KV. Empty unless the method is `attention`. */
  readonly ownContributions: Float32Array; // [positions]
  /** The positions shown one by one, those with the largest contributions first. */
  readonly positions: readonly ExplainedPosition[];
}

/** A position of an explanation. */
export interface ExplainedPosition extends PositionContents {
  readonly index: number;
  /** The weight of each head, 0 to 1. Empty unless the method is `attention`. */
  readonly attention: Float32Array; // [heads of all parts]
  readonly contribution: number;
  readonly ownContribution: number;
  /** The score that the candidate would have if the record lacked this position. */
  readonly scoreWithout: number;
}

/** What a record holds of a position. */
export interface PositionContents {
  /** Empty if the rows do not hold it. */
  readonly itemId: string;
  /** Routes and raw values, in the order of the record's fields. */
  readonly values: readonly { readonly field: string; readonly value: number }[];
}
