import type { RankAnswer } from '../ranker.js';

/**
 * What a check computes of an answer's request:
 * - `scores`: other scores, to compare with the served ones.
 * - `cold`: the other bundle has no record of a user who has one of the served bundle.
 * - `unsupported`: the other bundle does not take the request, for example because it lacks a feature.
 * - `skipped`: there is nothing to compare.
 */
export type CheckResult =
  | { readonly kind: 'scores'; readonly scores: Float32Array }
  | { readonly kind: 'cold' | 'unsupported' | 'skipped' };

/** Another computation of an answer's scores. */
export interface AuditCheck {
  /** A label of the metrics: `path` for another way to the same scores, `shadow` for another bundle. */
  readonly name: 'path' | 'shadow';
  /** True if the scores must be those served, except for rounding. */
  readonly mustAgree: boolean;
  /** Computes the other scores. */
  run(answer: RankAnswer): Promise<CheckResult>;
}
