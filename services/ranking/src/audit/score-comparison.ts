import { orderOf } from '../attention/score-order.js';

/** How the scores of two computations of one request compare. */
export interface ScoreComparison {
  /** Largest absolute difference of a candidate's scores. */
  readonly largestDifference: number;
  /**
   * Kendall's rank correlation: 1 minus twice the share of the pairs of candidates that are in opposite orders. 1 for the
   * same order, -1 for the reverse. A pair with equal scores on either side counts as in the same order.
   */
  readonly kendallTau: number;
  /** Share of the best candidates, ten at most, that are among the best of both. */
  readonly topOverlap: number;
}

/** Candidates at the top that are compared. */
const TOP = 10;

/**
 * Compares two scores of each candidate. Takes n log n steps for n candidates.
 * @param served [candidates], at least one
 * @param other [candidates]
 */
export function compareScores(served: Float32Array, other: Float32Array): ScoreComparison {
  let largestDifference = 0;
  for (let i = 0; i < served.length; i++) {
    const difference = Math.abs((served[i] as number) - (other[i] as number));
    if (difference > largestDifference) largestDifference = difference;
  }
  const pairCount = (served.length * (served.length - 1)) / 2;
  const kendallTau = pairCount === 0 ? 1 : 1 - (2 * oppositePairs(served, other)) / pairCount;
  const top = Math.min(TOP, served.length);
  const best = new Set(orderOf(served, top));
  const common = orderOf(other, top).reduce((count, i) => count + (best.has(i) ? 1 : 0), 0);
  return { largestDifference, kendallTau, topOverlap: common / top };
}

/** Returns the number of pairs that one side puts in one order and the other side in the opposite order. */
function oppositePairs(served: Float32Array, other: Float32Array): number {
  // Candidates from the worst served score to the best, and from the worst other score where these are equal. Then a
  // pair is in opposite orders exactly if its other scores fall.
  const order = new Uint32Array(served.length).map((_, i) => i);
  const scoreOf = (scores: Float32Array, i: number) => scores[i] as number;
  order.sort((i, j) => scoreOf(served, i) - scoreOf(served, j) || scoreOf(other, i) - scoreOf(other, j));
  return fallingPairs(Float32Array.from(order, (i) => scoreOf(other, i)));
}

/** Returns the number of pairs whose first value is greater than the second. Sorts the values: a merge sort. */
function fallingPairs(values: Float32Array): number {
  if (values.length < 2) return 0;
  const middle = values.length >> 1;
  const [left, right] = [values.slice(0, middle), values.slice(middle)];
  let count = fallingPairs(left) + fallingPairs(right);
  for (let i = 0, l = 0, r = 0; i < values.length; i++) {
    const takesLeft = r >= right.length || (l < left.length && (left[l] as number) <= (right[r] as number));
    if (!takesLeft) count += left.length - l;
    values[i] = (takesLeft ? left[l++] : right[r++]) as number;
  }
  return count;
}
