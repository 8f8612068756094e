import type { Mode } from './options.js';

/** What a figure was measured with, in the words of the tables. */
export type Params = Readonly<Record<string, string | number>>;

/** One figure. */
export interface Row {
  readonly name: string;
  readonly params: Params;
  readonly value: number;
  readonly unit: string;
  /** `>= 0.7` or `<= 1.35`; empty where there is none. */
  readonly target: string;
}

/** A run's machine and time. */
export interface Run {
  readonly mode: Mode;
  /** ISO 8601, UTC. */
  readonly finished: string;
  readonly minutes: number;
  readonly rounds: number;
  readonly node: string;
  readonly cores: number;
  readonly cpu: string;
  /** Parts and baselines that were not run. */
  readonly leftOut: readonly string[];
}

/** What test/bench/results/latest.json holds. */
export interface Results {
  readonly runs: readonly Run[];
  readonly rows: readonly (Row & { readonly mode: Mode })[];
}

/** Whether a figure reaches its target; undefined without one. */
export function reaches({ value, target }: Pick<Row, 'value' | 'target'>): boolean | undefined {
  const [, sign, bound] = /^([<>]=) (.+)$/.exec(target) ?? [];
  if (!sign) return undefined;
  return sign === '<=' ? value <= Number(bound) : value >= Number(bound);
}

/** Results with a new run in them: a soak stands beside the others, a full or quick run replaces both of these. */
export function mergeRun(before: Results, run: Run, rows: readonly Row[]): Results {
  const stays = (mode: Mode) => (mode === 'soak') !== (run.mode === 'soak');
  return {
    runs: [...before.runs.filter(({ mode }) => stays(mode)), run],
    rows: [...before.rows.filter(({ mode }) => stays(mode)), ...rows.map((row) => ({ ...row, mode: run.mode }))],
  };
}
