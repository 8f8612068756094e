/** A scored example. A label above 0 is positive. */
export interface Scored {
  readonly score: number;
  readonly label: number;
}

/**
 * Returns the area under the ROC curve: the share of pairs in which the positive scores above the negative. Ties count
 * half. NaN without a positive or without a negative.
 */
export function areaUnderCurve(examples: readonly Scored[]): number {
  const sorted = [...examples].sort((a, b) => a.score - b.score);
  let positives = 0;
  let rankSum = 0;
  for (let from = 0; from < sorted.length; ) {
    let to = from;
    while (to < sorted.length && sorted[to]?.score === sorted[from]?.score) to++;
    const tied = sorted.slice(from, to).filter(({ label }) => label > 0).length;
    positives += tied;
    rankSum += (tied * (from + 1 + to)) / 2;
    from = to;
  }
  const negatives = sorted.length - positives;
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}

/** Returns the value below which the given share of the values lies, without interpolation. 0 without values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
