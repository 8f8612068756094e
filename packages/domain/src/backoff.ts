/** Bounds of the pause between two tries, ms. */
export interface BackoffRange {
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * Returns the pause before the next try, ms. Pauses double from `firstMs` to `longestMs`. Each is drawn at random
 * between half of that value and all of it, so that callers that failed together do not return together.
 * @param failureCount number of failed tries so far, 1 or more
 */
export function backoffMs(failureCount: number, { firstMs, longestMs }: BackoffRange): number {
  const wholeMs = Math.min(firstMs * 2 ** Math.min(failureCount - 1, 32), longestMs);
  return wholeMs * (0.5 + Math.random() / 2);
}
