/** Shortest and longest pause between two tries, ms. */
export interface BackoffRange {
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * Returns the pause before the next try, ms. Pauses double from `firstMs` to `longestMs`; each is drawn at random
 * between half of that and the whole, so that callers who failed together do not return together.
 * @param failureCount tries that failed so far, 1 or more
 */
export function backoffMs(failureCount: number, { firstMs, longestMs }: BackoffRange): number {
  const wholeMs = Math.min(firstMs * 2 ** Math.min(failureCount - 1, 32), longestMs);
  return wholeMs * (0.5 + Math.random() / 2);
}
