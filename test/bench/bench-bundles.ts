import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { MAX_POSITIONS } from './options.js';

/** Names of the bundles with random weights that training/bench_bundles.py makes for the bench. */
export type BenchBundleName = 'shared' | 'shared_separate';

/** Width of keys and values, all heads together. */
export const D_MODEL = 256;
const HEADS = 8;
/** Slots of the pool with tied routes. */
export const POOL_SLOTS = 256;
/** Slots of each pool with separate routes for keys and values. */
export const SEPARATE_SLOTS = 10_000;

/** Most candidates of a request. */
export const MAX_CANDIDATES = 2_000;

const CACHE = '.ckv/bench/bundles';
const REMEDY =
  'run python3 -m venv .venv && .venv/bin/pip install -r training/requirements.txt, or give a Python with --python PATH';

/** Options of {@link benchBundle}. */
export interface BenchBundleOptions {
  /** Slots of the pool; default 256. */
  readonly slots?: number;
  /** Path of Python; default .venv/bin/python if it exists, else python3. */
  readonly python?: string | undefined;
}

/**
 * Returns the folder of a bundle with random weights. If the training code and the options are new, makes the bundle
 * first, in some seconds.
 * @throws Error with Python's error text, or with the package to install
 */
export function benchBundle(name: BenchBundleName, { slots = POOL_SLOTS, python }: BenchBundleOptions = {}): string {
  const args = [
    ...['--only', name, '--d-model', String(D_MODEL), '--heads', String(HEADS)],
    ...['--slots', String(slots), '--separate-slots', String(SEPARATE_SLOTS), '--positions', String(MAX_POSITIONS)],
  ];
  return join(makeOnce('training/bench_bundles.py', args, python), name);
}

/**
 * Runs a script of training/ that writes bundles into the folder `--out`, unless it ran before with the same training
 * code and arguments. Returns the folder.
 * @param python path of Python; default .venv/bin/python if it exists, else python3
 * @throws Error with Python's error text, or with the package to install
 */
export function makeOnce(script: string, args: readonly string[], python?: string): string {
  const dir = join(CACHE, keyOf([script, ...args]));
  if (existsSync(dir)) return dir;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = `${dir}.${process.pid}`;
  const program = python ?? (existsSync('.venv/bin/python') ? '.venv/bin/python' : 'python3');
  runPython(program, [script, ...args, '--out', unfinished]);
  for (const made of readdirSync(unfinished)) allowCandidates(join(unfinished, made, 'bundle.json'));
  renameSync(unfinished, dir);
  return dir;
}

/** Raises the manifest's limit of candidates. The graphs accept any number. */
function allowCandidates(path: string): void {
  if (!existsSync(path)) return; // a file beside the bundles
  const manifest: object = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...manifest, maxCandidates: MAX_CANDIDATES }));
}

function runPython(python: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(python, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  if (status === 0) return;
  if (error) throw new Error(`making bundles needs Python, and ${python} cannot be run (${error.message}): ${REMEDY}`);
  const missing = /No module named '([\w.]+)'/.exec(stderr)?.[1];
  if (missing) throw new Error(`making bundles needs ${missing}, and ${python} does not have it: ${REMEDY}`);
  throw new Error(`${python} ${args.join(' ')} failed:\n${stderr.trim().slice(-2_000)}`);
}

/** Returns a hash of the arguments and of the training code. It names the folder of the bundles. */
function keyOf(args: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([args, MAX_CANDIDATES]));
  for (const file of readdirSync('training', { recursive: true, encoding: 'utf8' }).sort()) {
    if (file.endsWith('.py') && !basename(file).startsWith('test_')) hash.update(readFileSync(join('training', file)));
  }
  return hash.digest('hex').slice(0, 16);
}
