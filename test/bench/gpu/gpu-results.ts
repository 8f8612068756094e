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

/** Adds runs to results. A run adds its figures to those of the same card and origin, and replaces equal ones. */
export function addRuns({ runs }: GpuResults, added: GpuResults): GpuResults {
  const key = ({ card, origin }: GpuRun) => `${card}\n${origin}`;
  const all = new Map(runs.map((run) => [key(run), run]));
  for (const run of added.runs) {
    const { rows = [], notes = [] } = all.get(key(run)) ?? {};
    const measured = new Set(run.rows.map(figure));
    all.set(key(run), {
      ...run,
      notes: [...new Set([...notes, ...run.notes])],
      rows: [...rows.filter((row) => !measured.has(figure(row))), ...run.rows],
    });
  }
  return { runs: [...all.values()] };
}

const figure = ({ name, params }: Row) => JSON.stringify([name, params]);
