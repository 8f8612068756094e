import { parseArgs } from 'node:util';

/** The parts of a run, in their order; each yields some of the figures. */
export const PARTS = [
  'bytes',
  'length',
  'candidates',
  'pool',
  'throughput',
  'load',
  'profile',
  'collapse',
  'updates',
  'memory',
] as const;
/** A part of a run. */
export type Part = (typeof PARTS)[number];

/** What CollectiveKV is compared with: the same services and store, with other records and graphs. */
export const BASELINES = ['full_fp32', 'full_fp16', 'recompute'] as const;
/** One of them. */
export type Baseline = (typeof BASELINES)[number];

/** How much is run: the whole, the whole with fewer and shorter rounds, or ten minutes of load for memory alone. */
export type Mode = 'full' | 'quick' | 'soak';

/** What a run does. */
export interface BenchOptions {
  readonly mode: Mode;
  readonly parts: readonly Part[];
  readonly baselines: readonly Baseline[];
  /** Rounds that count, of every figure that is a median of rounds. */
  readonly rounds: number;
  /** Calls of an arm in a round, at most. */
  readonly runs: number;
  /** Calls of an arm in a round before those that count. */
  readonly settleRuns: number;
  /** How long an arm is under load in a round, and the longest that its calls of a round may take one by one. */
  readonly sliceMs: number;
  /** Calls that an arm answers before any counts, and the longest that they may take. */
  readonly warmUp: { readonly calls: number; readonly budgetMs: number };
  /** Positions of the histories, ascending. */
  readonly lengths: readonly number[];
  /** Where results, page and plots go; undefined leaves them unwritten. */
  readonly out: string | undefined;
  /** The Python that makes the bundles; undefined finds one. */
  readonly python: string | undefined;
}

export const USAGE = `npm run bench -- [options]
  --quick        all figures with fewer and shorter rounds
  --soak         ten minutes of load: the memory figures alone, merged into the others
  --only A,B     parts: ${PARTS.join(', ')}
  --baselines A  of ${BASELINES.join(', ')}, or none
  --lengths A,B  positions of the histories
  --rounds N     rounds that count
  --runs N       calls of an arm in a round, at most
  --slice-ms N   time that an arm is under load in a round
  --out DIR      write results, page and plots there; a run of less than all is not written without
  --python PATH  the Python that makes the bundles, with PyTorch; default .venv/bin/python, else python3`;

/** Longest history of a record. */
export const MAX_POSITIONS = 50_000;

const DEFAULTS = {
  full: {
    warmUp: { calls: 4_000, budgetMs: 12_000 },
    rounds: 5,
    runs: 100,
    settleRuns: 20,
    sliceMs: 2_000,
    lengths: [100, 300, 1_000, 3_000, 10_000, 50_000],
  },
  quick: {
    warmUp: { calls: 1_500, budgetMs: 4_000 },
    rounds: 2,
    runs: 30,
    settleRuns: 10,
    sliceMs: 700,
    lengths: [100, 1_000, 10_000, 50_000],
  },
  soak: {
    warmUp: { calls: 4_000, budgetMs: 12_000 },
    rounds: 1,
    runs: 1,
    settleRuns: 0,
    sliceMs: 3_000,
    lengths: [1_000],
  },
} as const satisfies Record<Mode, object>;

/**
 * Reads the arguments of `npm run bench`.
 * @returns undefined where only the usage is wanted
 * @throws Error naming the argument, its limits and what to do
 */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      soak: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      only: { type: 'string' },
      baselines: { type: 'string' },
      lengths: { type: 'string' },
      rounds: { type: 'string' },
      runs: { type: 'string' },
      'slice-ms': { type: 'string' },
      out: { type: 'string' },
      python: { type: 'string' },
    },
  });
  if (values.help) return undefined;
  if (values.quick && values.soak) throw new Error('--quick and --soak: give one of them');
  const mode: Mode = values.soak ? 'soak' : values.quick ? 'quick' : 'full';
  const defaults = DEFAULTS[mode];
  const partial = [values.only, values.baselines, values.lengths].some((value) => value !== undefined);
  return {
    mode,
    parts: mode === 'soak' ? ['memory'] : someOf('only', values.only, PARTS),
    baselines: values.baselines === 'none' ? [] : someOf('baselines', values.baselines, BASELINES),
    rounds: numberOf('rounds', values.rounds, defaults.rounds, 100),
    runs: numberOf('runs', values.runs, defaults.runs, 10_000),
    warmUp: defaults.warmUp,
    settleRuns: defaults.settleRuns,
    sliceMs: numberOf('slice-ms', values['slice-ms'], defaults.sliceMs, 600_000),
    lengths: values.lengths === undefined ? defaults.lengths : lengthsOf(values.lengths),
    out: values.out ?? (partial ? undefined : '.'),
    python: values.python,
  };
}

function someOf<Name extends string>(option: string, text: string | undefined, all: readonly Name[]): readonly Name[] {
  if (text === undefined) return all;
  const asked = text.split(',');
  const unknown = asked.filter((name) => !all.some((known) => known === name));
  if (unknown.length > 0) throw new Error(`--${option}: there is no ${unknown.join(', ')}, but ${all.join(', ')}`);
  return all.filter((name) => asked.includes(name));
}

function lengthsOf(text: string): number[] {
  return [...new Set(text.split(',').map((part) => numberOf('lengths', part, 0, MAX_POSITIONS)))].sort((a, b) => a - b);
}

function numberOf(name: string, text: string | undefined, whenAbsent: number, max: number): number {
  if (text === undefined) return whenAbsent;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new Error(`--${name}: ${JSON.stringify(text)} is no whole number from 1 to ${max}`);
}
