import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { gzipSync } from 'node:zlib';
import { parseInteraction } from '@collectivekv/domain';
import { openInteractionLog } from '@collectivekv/interaction-log';
import { ROOT } from '../fixture-bundles.js';
import { LOG_FILES, type LogFile } from '../inputs/log-files.js';
import { findPython } from '../python.js';
import type { Surface } from '../surface.js';

/** What a reader makes of a log: user, item, Unix ms, action and watch ratio of each row, or an error. */
interface Reading {
  readonly rows?: readonly (readonly unknown[])[];
  readonly error?: string;
}

/**
 * Interaction logs, for `npm start -- --data` and for training. Each row must be one that the write door accepts. If
 * Python is there, training must read the same rows, or refuse the log as well.
 */
export async function logsSurface(): Promise<Surface<LogFile>> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-fuzz-logs-'));
  const training = startTraining();

  async function replay(file: string): Promise<Reading> {
    const rows: (readonly unknown[])[] = [];
    try {
      const log = await openInteractionLog({ file, columns: {}, features: ['watch_ratio'] });
      for await (const row of log.rows()) {
        parseInteraction(row, 'row'); // throws if it breaks a bound
        rows.push([row.userId, row.itemId, row.timestampMs, row.action ?? '', row.features?.watch_ratio ?? null]);
      }
      return { rows };
    } catch (error) {
      const { name, message } = error as Error;
      if (name === 'LogError' && message.includes(file)) return { error: message };
      throw error;
    }
  }

  async function read({ name, content }: LogFile): Promise<Reading> {
    const file = join(dir, name);
    await writeFile(file, content);
    try {
      const [ours, theirs] = await Promise.all([replay(file), training?.read(file)]);
      if (theirs && !isAlike(ours, theirs)) {
        throw new Error(`the replay reads ${JSON.stringify(ours)}, training reads ${JSON.stringify(theirs)}`);
      }
      return ours;
    } finally {
      await rm(file, { force: true });
    }
  }

  return {
    name: training ? 'interaction logs, replay and training' : 'interaction logs, replay alone',
    inputs: LOG_FILES,
    judge: async (log) => ((await read(log)).rows ? 'accepted' : 'refused'),
    async stillRight() {
      const content = gzipSync('user_id,item_id,timestamp_ms,watch_ratio\nu,i,1700000000000,0.5\n');
      const { rows } = await read({ name: 'valid.csv.gz', content });
      const right = [['u', 'i', 1_700_000_000_000, '', 0.5]];
      if (!isDeepStrictEqual(rows, right)) throw new Error(`read ${JSON.stringify(rows)}`);
    },
    async close() {
      training?.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** True if both refuse the log, or both read the same rows. Training keeps features as float32. */
function isAlike(ours: Reading, theirs: Reading): boolean {
  const rounded = (rows: Reading['rows'] = []) =>
    rows.map((row) => row.map((cell, i) => (i === 4 && typeof cell === 'number' ? Math.fround(cell) : (cell ?? ''))));
  // Training reads every column with numbers. So two rows of one event may differ for training alone.
  if (ours.rows && theirs.error?.includes(' with other content')) return true;
  if (!ours.rows || !theirs.rows) return !ours.rows && !theirs.rows;
  return isDeepStrictEqual(rounded(ours.rows), rounded(theirs.rows));
}

/** Starts training's reader. Undefined if there is no Python with its packages. */
function startTraining(): { read(file: string): Promise<Reading>; close(): void } | undefined {
  const python = findPython('numpy, pyarrow');
  if (!python) return undefined;
  const start = () => {
    const child = spawn(python, [join(ROOT, 'test', 'fuzz', 'read_logs.py')], { stdio: 'pipe' });
    const reader = { child, answers: createInterface({ input: child.stdout })[Symbol.asyncIterator](), errors: '' };
    child.stderr.on('data', (chunk) => {
      reader.errors = `${reader.errors}${chunk}`.slice(-2_000);
    });
    return reader;
  };
  let reader = start();
  return {
    async read(file) {
      reader.child.stdin.write(`${file}\n`);
      const { value, done } = await reader.answers.next();
      if (!done) return JSON.parse(value) as Reading;
      const { errors } = reader;
      reader = start();
      throw new Error(`training crashed: ${errors}`);
    },
    close: () => reader.child.stdin.end(),
  };
}
