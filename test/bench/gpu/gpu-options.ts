import { parseArgs } from 'node:util';
import type { Precision, Provider } from '@collectivekv/engine';
import type { BatchShape } from './batch.js';
import type { Repeats } from './time-runs.js';

/** The parts of a run, in order. */
export const GPU_PARTS = ['demo', 'arms', 'hstu', 'torch', 'rank-many'] as const;
/** A part of a run. */
export type GpuPart = (typeof GPU_PARTS)[number];

/** Options of a run. */
export interface GpuOptions {
  readonly provider: Provider;
  readonly precision: Precision;
  readonly parts: readonly GpuPart[];
  readonly shapes: readonly BatchShape[];
  /** Of the part `hstu`. */
  readonly hstu: BatchShape;
  /** Of the part `rank-many`. */
  readonly rankMany: BatchShape;
  readonly repeats: Repeats;
  /** Folder that training/bench_gpu.py wrote; undefined: it is made. */
  readonly model: string | undefined;
  /** Folder of the results; undefined writes none. */
  readonly out: string | undefined;
  /** Results to add to those of the page; undefined: the run is measured. */
  readonly add: string | undefined;
  /** A Python, with PyTorch for the part `torch`; undefined searches for one. */
  readonly python: string | undefined;
}

const PROVIDERS: readonly Provider[] = ['cpu', 'cuda', 'webgpu'];
const PRECISIONS: readonly Precision[] = ['float32', 'tf32'];

/** Sizes of a run. */
interface Extent {
  readonly users: readonly number[];
  readonly positions: readonly number[];
  readonly candidates: readonly number[];
  readonly hstu: BatchShape;
  readonly rankMany: BatchShape;
  readonly repeats: Repeats;
}
const FULL: Extent = {
  users: [1, 16, 64, 512],
  positions: [1_000, 10_000],
  candidates: [1, 500],
  // as in a published profile of generative-recommenders: 9.30 ms on an H100
  hstu: { users: 32, positions: 1_024, candidates: 2_048 },
  rankMany: { users: 512, positions: 1_000, candidates: 100 },
  repeats: { warmUps: 3, most: 30, budgetMs: 1_000 },
};
const QUICK: Extent = {
  users: [1, 3],
  positions: [20],
  candidates: [1, 5],
  hstu: { users: 2, positions: 20, candidates: 8 },
  rankMany: { users: 3, positions: 20, candidates: 5 },
  repeats: { warmUps: 1, most: 3, budgetMs: 50 },
};
/** The batch on which all arms are compared with the CPU before any is timed. */
export const CHECKED_SHAPE: BatchShape = { users: 3, positions: 20, candidates: 5 };

/** The text of `--help`. */
export const GPU_USAGE = `npm run bench:gpu -- [options]

Measures batches of users on a GPU. docs/benchmarks.md explains the arms.

  --provider P    ${PROVIDERS.join(', ')} (default cuda); cpu with --quick is a dry run
  --precision P   ${PRECISIONS.join(', ')} (default float32)
  --quick         tiny batches, a few seconds
  --only A,B      these parts alone: ${GPU_PARTS.join(', ')}
  --users A,B     users of a batch (default ${FULL.users.join(',')})
  --positions A,B positions of a history (default ${FULL.positions.join(',')})
  --model DIR     folder that training/bench_gpu.py wrote (default: it is made, which
                  needs PyTorch and onnx)
  --out DIR       folder for the results, gpu.json and gpu.md; default: none
  --add FILE      no measurement: adds the results of a run to those of the page, which
                  "npm run docs" then writes
  --python PATH   a Python, with PyTorch for the part torch
                  (default .venv/bin/python, else python3)
  --help          print this text`;

/**
 * Reads the arguments.
 * @returns the options, or undefined for `--help`
 * @throws Error naming the argument, its limits and the remedy
 */
export function readGpuOptions(args: readonly string[]): GpuOptions | undefined {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      provider: { type: 'string', default: 'cuda' },
      precision: { type: 'string', default: 'float32' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      only: text,
      users: text,
      positions: text,
      model: text,
      out: text,
      python: text,
      add: text,
    },
  });
  if (values.help) return undefined;
  const extent = values.quick ? QUICK : FULL;
  return {
    provider: oneOf('provider', values.provider, PROVIDERS),
    precision: oneOf('precision', values.precision, PRECISIONS),
    parts: GPU_PARTS.filter((part) => partsIn(values.only).includes(part)),
    shapes: shapesOf({
      ...extent,
      users: numbersIn('users', values.users, extent.users),
      positions: numbersIn('positions', values.positions, extent.positions),
    }),
    hstu: extent.hstu,
    rankMany: extent.rankMany,
    repeats: extent.repeats,
    model: values.model,
    out: values.out,
    python: values.python,
    add: values.add,
  };
}

function shapesOf({ users, positions, candidates }: Extent): BatchShape[] {
  return users.flatMap((u) =>
    positions.flatMap((n) => candidates.map((c) => ({ users: u, positions: n, candidates: c }))),
  );
}

function partsIn(text: string | undefined): readonly GpuPart[] {
  return text === undefined ? GPU_PARTS : text.split(',').map((name) => oneOf('only', name, GPU_PARTS));
}

function numbersIn(option: string, text: string | undefined, whenAbsent: readonly number[]): readonly number[] {
  if (text === undefined) return whenAbsent;
  return text.split(',').map((one) => {
    const value = Number(one);
    if (Number.isInteger(value) && value >= 1 && value <= 100_000) return value;
    throw new Error(`--${option}: ${JSON.stringify(one)} is not a whole number from 1 to 100000`);
  });
}

function oneOf<Name extends string>(option: string, value: string, known: readonly Name[]): Name {
  const found = known.find((name) => name === value);
  if (found !== undefined) return found;
  throw new Error(`--${option}: ${JSON.stringify(value)} is unknown; give one of ${known.join(', ')}`);
}
