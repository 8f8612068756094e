import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { WORLD } from './feed.js';
import { ROOT } from './paths.js';

/** The folders of the drill's bundles, in a folder. */
export const BUNDLE_NAMES = ['v1', 'v2', 'v3'] as const;

/** Options that make small models, which train in seconds. */
const SMALL = ['--batch', '1024', '--epochs', '10', '--max-positions', '256', '--no-comparisons', '--fresh'];
const FEATURES = [
  ['--interaction-features', 'watch_ratio'],
  ['--candidate-features', 'freshness'],
  ['--context-features', 'hour:0:24:12:period'],
].flat();
/** Users of the logs to train on, far from those of the drill. The second log is of other users. */
const FIRST_USERS = [1_000_000, 2_000_000];
const USERS = 400;
const POSITIONS = 160;

/**
 * Trains the bundles of the drill by `train.py`: v1; v2 on another log, with the encoding of v1; v3 on this log, with an
 * encoding of its own.
 * @param folder receives a folder for each
 * @throws Error with the end of the output if a command fails
 */
export async function trainBundles(folder: string, onProgress: (text: string) => void): Promise<void> {
  const dir = relative(ROOT, folder); // a bundle names the command that made it
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const logs = await Promise.all(FIRST_USERS.map((user) => writeLog(dir, user)));
  const [first = '', second = ''] = logs;
  const width = (embedding: number, dModel: number) => ['--embedding', `${embedding}`, '--d-model', `${dModel}`];
  const trainings = {
    v1: ['--log', first, ...width(16, 32)],
    v2: ['--log', second, ...width(16, 32), '--keep-encoding', join(dir, 'v1'), '--seed', '2'],
    v3: ['--log', second, ...width(24, 48), '--seed', '3'],
  };
  for (const name of BUNDLE_NAMES) {
    onProgress(`training ${name}`);
    const out = ['--name', `drill-${name}`, '--out', join(dir, name), '--heads', '4', '--split', 'users:0.1'];
    await run(python(), ['training/train.py', 'log', ...trainings[name], ...out, ...SMALL, ...FEATURES]);
  }
  for (const log of logs) await rm(join(ROOT, log));
}

async function writeLog(dir: string, firstUser: number): Promise<string> {
  const out = join(dir, `${firstUser}.csv`);
  const { seed, itemCount, topicCount } = WORLD;
  const world = ['--seed', `${seed}`, '--items', `${itemCount}`, '--topics', `${topicCount}`];
  const users = ['--first-user', `${firstUser}`, '--users', `${USERS}`, '--positions', `${POSITIONS}`];
  await run(process.execPath, ['packages/feed-simulator/dist/write-log.js', ...world, ...users, '--out', out]);
  return out;
}

/** Returns a Python: CKV_PYTHON, the one of .venv, or python3. */
function python(): string {
  const venv = join(ROOT, '.venv/bin/python');
  return process.env.CKV_PYTHON || (existsSync(venv) ? venv : 'python3');
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output = `${output}${chunk}`.slice(-4_000);
    });
  }
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed (exit code ${code}):\n${output}`);
}
