import { parseArgs } from 'node:util';

/** The parts of a run, in order. Each measures some of the figures. */
export const PARTS = [
  'quality',
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
export type Part = (typeof PARTS)[number] | 'overload' | 'switches';

/** The baselines: the same model, services and store with other records and graphs. */
export const BASELINES = ['full_fp32', 'full_fp16', 'recompute', 'recompute_clusters', 'pool'] as const;
/** A baseline. */
export type Baseline = (typeof BASELINES)[number];

/** The baselines whose records or time grow with every position: at 50,000 positions, a record would have 100 MB. */
const FULL_MODEL: readonly string[] = ['full_fp32', 'full_fp16', 'recompute'] satisfies Baseline[];
const FULL_MODEL_POSITIONS = 10_000;
/** Lengths for the recommended bundle with other ways of serving, such as `factored, unary`. */
const VARIANT_LENGTHS: readonly number[] = [1_000, 10_000];

/** Returns the lengths of histories at which an arm is measured. */
export function lengthsOf(arm: string, lengths: readonly number[]): readonly number[] {
  if (arm.includes(',')) return lengths.filter((positions) => VARIANT_LENGTHS.includes(positions));
  return FULL_MODEL.includes(arm) ? lengths.filter((positions) => positions <= FULL_MODEL_POSITIONS) : lengths;
}

/**
 * Extent of a run: all figures, all figures in fewer and shorter rounds, memory alone under ten minutes of load,
 * overload alone, or switches of bundles alone.
 */
export type Mode = 'full' | 'quick' | 'soak' | 'overload' | 'switches';

/** Options of a run. */
export interface BenchOptions {
  readonly mode: Mode;
  readonly parts: readonly Part[];
  readonly baselines: readonly Baseline[];
  /** Measured rounds of each figure that is a median of rounds. */
  readonly rounds: number;
  /** Most timed calls of an arm in a round. */
  readonly runs: number;
  /** Calls of an arm in a round before the timed calls. */
  readonly settleRuns: number;
  /** Time under load of an arm in a round, ms. It also limits an arm's single calls in a round. */
  readonly sliceMs: number;
  /** Calls of an arm before all rounds, and their time limit, ms. */
  readonly warmUp: { readonly calls: number; readonly budgetMs: number };
  /** Lengths of the histories in positions, ascending. */
  readonly lengths: readonly number[];
  /** Folder of results, page and plots; undefined writes nothing. */
  readonly out: string | undefined;
  /** Folder of public data sets, to train on ML-1M; undefined trains on a log of the feed simulator. */
  readonly data: string | undefined;
  /** The Python that makes the bundles; undefined searches for one. */
  readonly python: string | undefined;
  /** Measures nothing: writes page and plots from the results. */
  readonly renderOnly: boolean;
}

/** Longest history of a record, in positions. */
export const MAX_POSITIONS = 100_000;
const MAX_ROUNDS = 100;
const MAX_RUNS = 10_000;
const MAX_SLICE_MS = 600_000;

const DEFAULTS = {
  full: {
    warmUp: { calls: 4_000, budgetMs: 12_000 },
    rounds: 5,
    runs: 100,
    settleRuns: 20,
    sliceMs: 2_000,
    lengths: [100, 1_000, 10_000, 50_000, 100_000],
  },
  quick: {
    warmUp: { calls: 1_500, budgetMs: 4_000 },
    rounds: 2,
    runs: 30,
    settleRuns: 10,
    sliceMs: 700,
    lengths: [1_000, 10_000, 100_000],
  },
  soak: {
    warmUp: { calls: 4_000, budgetMs: 12_000 },
    rounds: 1,
    runs: 1,
    settleRuns: 0,
    sliceMs: 3_000,
    lengths: [1_000],
  },
  overload: {
    warmUp: { calls: 4_000, budgetMs: 12_000 },
    rounds: 1,
    runs: 1,
    settleRuns: 0,
    sliceMs: 10_000,
    lengths: [1_000],
  },
  switches: {
    warmUp: { calls: 4_000, budgetMs: 12_000 },
    rounds: 1,
    runs: 1,
    settleRuns: 0,
    sliceMs: 10_000,
    lengths: [1_000],
  },
} as const satisfies Record<Mode, object>;

/** The parts of the modes that measure one thing alone. */
const ALONE: Partial<Record<Mode, readonly Part[]>> = {
  soak: ['memory'],
  overload: ['overload'],
  switches: ['switches'],
};

/** The text of `npm run bench -- --help`. */
export const USAGE = `npm run bench -- [options]

Measures the figures of docs/benchmarks.md. A full run takes about 12 minutes.

  --quick        all figures in fewer and shorter rounds; under 4 minutes
  --soak         the memory figures alone, under ten minutes of load
  --overload     ten times the sustainable load alone, for a minute at each door
  --switches     50 switches of bundles alone, under steady load
  --render       no measurement: write page and plots from the results again
  --only A,B     these parts alone: ${PARTS.slice(0, 6).join(', ')},
                 ${PARTS.slice(6).join(', ')}
  --baselines A  these baselines alone: ${BASELINES.join(', ')}, or none
  --lengths A,B  lengths of the histories, 1 to ${MAX_POSITIONS} positions
                 (default ${DEFAULTS.full.lengths.join(',')})
  --rounds N     measured rounds, 1 to ${MAX_ROUNDS} (default ${DEFAULTS.full.rounds})
  --runs N       most calls of an arm in a round, 1 to ${MAX_RUNS} (default ${DEFAULTS.full.runs})
  --slice-ms N   time under load of an arm in a round, 1 to ${MAX_SLICE_MS} ms
                 (default ${DEFAULTS.full.sliceMs})
  --out DIR      folder of results, page and plots (default: this repository's);
                 with --only, --baselines or --lengths nothing is written by default
  --data DIR     trains the bundles on ML-1M in DIR/ml-1m-ordered (default: on a log
                 of the feed simulator); training takes some minutes, once
  --python PATH  a Python with PyTorch, to make the bundles
                 (default .venv/bin/python, else python3)
  --help         print this text

The defaults of --lengths, --rounds, --runs and --slice-ms are those of a full run.`;

/**
 * Reads the arguments of `npm run bench`.
 * @returns the options, or undefined for `--help`
 * @throws Error naming the argument, its limits and the remedy
 */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      soak: { type: 'boolean', default: false },
      overload: { type: 'boolean', default: false },
      switches: { type: 'boolean', default: false },
      render: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      only: { type: 'string' },
      baselines: { type: 'string' },
      lengths: { type: 'string' },
      rounds: { type: 'string' },
      runs: { type: 'string' },
      'slice-ms': { type: 'string' },
      out: { type: 'string' },
      data: { type: 'string' },
      python: { type: 'string' },
    },
  });
  if (values.help) return undefined;
  const given = (['quick', 'soak', 'overload', 'switches'] as const).filter((name) => values[name]);
  if (given.length > 1)
    throw new Error('--quick, --soak, --overload and --switches exclude each other: give one of them');
  const mode: Mode = given[0] ?? 'full';
  const defaults = DEFAULTS[mode];
  const partial = [values.only, values.baselines, values.lengths].some((value) => value !== undefined);
  return {
    mode,
    parts: ALONE[mode] ?? someOf('only', values.only, PARTS),
    baselines: values.baselines === 'none' ? [] : someOf('baselines', values.baselines, BASELINES),
    rounds: numberOf('rounds', values.rounds, defaults.rounds, MAX_ROUNDS),
    runs: numberOf('runs', values.runs, defaults.runs, MAX_RUNS),
    warmUp: defaults.warmUp,
    settleRuns: defaults.settleRuns,
    sliceMs: numberOf('slice-ms', values['slice-ms'], defaults.sliceMs, MAX_SLICE_MS),
    lengths: values.lengths === undefined ? defaults.lengths : lengthsIn(values.lengths),
    out: values.out ?? (partial ? undefined : '.'),
    data: values.data,
    python: values.python,
    renderOnly: values.render,
  };
}

function someOf<Name extends string>(option: string, text: string | undefined, all: readonly Name[]): readonly Name[] {
  if (text === undefined) return all;
  const asked = text.split(',');
  const unknown = asked.filter((name) => !all.some((known) => known === name));
  if (unknown.length > 0)
    throw new Error(`--${option}: unknown name ${unknown.join(', ')}; give some of ${all.join(', ')}`);
  return all.filter((name) => asked.includes(name));
}

function lengthsIn(text: string): number[] {
  return [...new Set(text.split(',').map((part) => numberOf('lengths', part, 0, MAX_POSITIONS)))].sort((a, b) => a - b);
}

function numberOf(name: string, text: string | undefined, whenAbsent: number, max: number): number {
  if (text === undefined) return whenAbsent;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new Error(`--${name}: ${JSON.stringify(text)} is not a whole number from 1 to ${max}`);
}
