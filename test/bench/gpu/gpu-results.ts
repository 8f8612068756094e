import type { Row } from '../results.js';

/** Figures of one machine by one origin. */
export interface GpuRun {
  /** The GPU that computed, with its driver if known; or the processor. */
  readonly card: string;
  /** Who measured, and with what. */
  readonly origin: string;
  /** ISO 8601, UTC; empty: the date is not known. */
  readonly finished: string;
  /** What was not measured, and why. */
  readonly notes: readonly string[];
  readonly rows: readonly Row[];
}

/** Contents of test/bench/results/gpu.json. */
export interface GpuResults {
  readonly runs: readonly GpuRun[];
}

/** Adds runs to results. A run replaces an earlier one of the same card and origin. */
export function addRuns({ runs }: GpuResults, added: GpuResults): GpuResults {
  const key = ({ card, origin }: GpuRun) => `${card}\n${origin}`;
  const replaced = new Set(added.runs.map(key));
  return { runs: [...runs.filter((run) => !replaced.has(key(run))), ...added.runs] };
}
