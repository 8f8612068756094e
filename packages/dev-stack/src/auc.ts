/** A scored example. */
export interface Scored {
  readonly score: number;
  readonly label: number;
}

/** Area under the ROC curve: how often a positive stands above a negative, ties counting half; NaN without both. */
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

/** The value below which the given share of the values lies; 0 without values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
