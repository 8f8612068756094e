/**
 * Returns the share of positions in the most used slot, in the next one, in the next 2, the next 4, and so on. Slots
 * are ordered by their own counts. Empty if there is no position.
 */
export function rankShares(counts: Uint32Array): number[] {
  const descending = counts
    .filter((count) => count > 0)
    .sort()
    .reverse();
  const total = descending.reduce((sum, count) => sum + count, 0);
  const shares: number[] = [];
  for (let from = 0; from < descending.length; ) {
    const to = from === 0 ? 1 : 2 * from;
    let part = 0;
    for (const count of descending.subarray(from, to)) part += count;
    shares.push(part / total);
    from = to;
  }
  return shares;
}
