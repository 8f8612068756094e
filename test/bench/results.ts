import type { Mode } from './options.js';

/** Parameters of a figure, as the tables print them. */
export type Params = Readonly<Record<string, string | number>>;

/** One figure. */
export interface Row {
  readonly name: string;
  readonly params: Params;
  readonly value: number;
  readonly unit: string;
  /** Such as `>= 0.7` or `<= 1.35`; empty if there is no target. */
  readonly target: string;
}

/** A bundle of a run. */
export interface UsedBundle {
  /** The arm's name for a trained bundle. */
  readonly name: string;
  readonly id: string;
  /** What it was trained on, in words; undefined: its weights are random. */
  readonly trainedOn?: string | undefined;
}

/** Time, machine and bundles of a run. */
export interface Run {
  readonly mode: Mode;
  /** ISO 8601, UTC. */
  readonly finished: string;
  readonly minutes: number;
  readonly rounds: number;
  readonly node: string;
  readonly cores: number;
  readonly cpu: string;
  /** Load average of the five minutes before the run; undefined: not recorded. */
  readonly loadBefore?: number | undefined;
  /** Parts and baselines that were not run. */
  readonly leftOut: readonly string[];
  readonly bundles: readonly UsedBundle[];
}

/** Contents of test/bench/results/latest.json. */
export interface Results {
  readonly runs: readonly Run[];
  readonly rows: readonly (Row & { readonly mode: Mode })[];
}

/** True if a figure reaches its target. Undefined if it has no target. */
export function reaches({ value, target }: Pick<Row, 'value' | 'target'>): boolean | undefined {
  const [, sign, bound] = /^([<>]=) (.+)$/.exec(target) ?? [];
  if (!sign) return undefined;
  return sign === '<=' ? value <= Number(bound) : value >= Number(bound);
}

/** True for the runs that measure one thing alone, beside the full or quick runs. */
export function isAlone(mode: Mode): boolean {
  return mode === 'soak' || mode === 'overload' || mode === 'switches';
}

/**
 * Adds a run to the results. A run that measures one thing alone replaces an earlier one of its kind. A full or quick run
 * replaces an earlier full or quick run.
 */
export function mergeRun(before: Results, run: Run, rows: readonly Row[]): Results {
  const stays = (mode: Mode) => (isAlone(mode) || isAlone(run.mode)) && mode !== run.mode;
  return {
    runs: [...before.runs.filter(({ mode }) => stays(mode)), run],
    rows: [...before.rows.filter(({ mode }) => stays(mode)), ...rows.map((row) => ({ ...row, mode: run.mode }))],
  };
}
