/** Rest after work beside requests: this many times as long as the work took. */
const FACTOR = 3;
const LONGEST_MS = 250;

/** Waits a while after work that took `workMs`: requests need the processors, and nobody waits for the work. */
export function rest(workMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.min(LONGEST_MS, FACTOR * workMs)));
}
