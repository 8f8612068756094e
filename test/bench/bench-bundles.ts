import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MAX_POSITIONS } from './options.js';

/** The bundles that training/bench_bundles.py makes, all of the same random full model. */
export type BenchBundleName = 'shared' | 'shared_int8' | 'shared_separate' | 'full_fp16' | 'full_fp32' | 'recompute';

/** Width of keys and values. */
export const D_MODEL = 256;
const HEADS = 8;
/** Rows of the pool whose routes are tied. */
export const POOL_SLOTS = 256;
/** Rows of the pools whose keys and values have routes of their own. */
export const SEPARATE_SLOTS = 10_000;

/** Most candidates of a request. */
export const MAX_CANDIDATES = 2_000;

const CACHE = '.ckv/bench/bundles';
const REMEDY =
  'python3 -m venv .venv && .venv/bin/pip install -r training/requirements.txt, or --python PATH of one that has PyTorch';

/** Options of {@link benchBundle}. */
export interface BenchBundleOptions {
  /** Rows of the pool; default 256. */
  readonly slots?: number;
  /** Default .venv/bin/python where there is one, else python3. */
  readonly python?: string | undefined;
}

/**
 * The folder of a bundle, made where this code and these options have not made it yet: some seconds. Those with the usual
 * pool are made together.
 * @throws Error with Python's last words and what to install
 */
export function benchBundle(name: BenchBundleName, { slots = POOL_SLOTS, python }: BenchBundleOptions = {}): string {
  const args = [
    ...(slots === POOL_SLOTS ? [] : ['--only', name]),
    ...['--d-model', String(D_MODEL), '--heads', String(HEADS)],
    ...['--slots', String(slots), '--separate-slots', String(SEPARATE_SLOTS), '--positions', String(MAX_POSITIONS)],
  ];
  const dir = join(CACHE, keyOf(args));
  if (!existsSync(dir)) {
    mkdirSync(CACHE, { recursive: true });
    const unfinished = `${dir}.${process.pid}`;
    const program = python ?? (existsSync('.venv/bin/python') ? '.venv/bin/python' : 'python3');
    makeBundles(program, [...args, '--out', unfinished]);
    for (const made of readdirSync(unfinished)) allowCandidates(join(unfinished, made, 'bundle.json'));
    renameSync(unfinished, dir);
  }
  return join(dir, name);
}

/** The graphs take any number; the manifest says how many a request may have. */
function allowCandidates(path: string): void {
  const manifest: object = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...manifest, maxCandidates: MAX_CANDIDATES }));
}

function makeBundles(python: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(python, ['training/bench_bundles.py', ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  if (status === 0) return;
  if (error) throw new Error(`the bundles need Python, and ${python} does not run (${error.message}): ${REMEDY}`);
  const missing = /No module named '([\w.]+)'/.exec(stderr)?.[1];
  if (missing) throw new Error(`the bundles need ${missing}, which ${python} has not: ${REMEDY}`);
  throw new Error(`${python} training/bench_bundles.py ${args.join(' ')} failed:\n${stderr.trim().slice(-2_000)}`);
}

/** Names a bundle by what it is made with, the training code included. */
function keyOf(args: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([args, MAX_CANDIDATES]));
  for (const file of readdirSync('training').sort()) {
    if (file.endsWith('.py') && !file.startsWith('test_')) hash.update(readFileSync(join('training', file)));
  }
  return hash.digest('hex').slice(0, 16);
}
