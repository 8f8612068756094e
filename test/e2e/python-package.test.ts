// The client for Python as others install it: a wheel in a clean environment.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, startE2e } from './e2e-stack.js';
import { pythonWith } from './python.js';
import { readmeSnippet } from './readme-snippet.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const source = join(root, 'clients', 'python');
/** What pip says where no index answers. */
const AWAY = /No matching distribution|Failed to establish a new connection|Connection|Temporary failure/;

let e2e: E2eStack;
let dir: string;
/** Why there is no environment here. */
let away = '';
const inVenv = (program: string) => join(dir, 'venv', 'bin', program);
beforeAll(async () => {
  e2e = await startE2e();
  dir = mkdtempSync(join(tmpdir(), 'ckv-wheel-'));
  const python = pythonWith('venv, ensurepip');
  if (!python) {
    away = 'no Python with venv and pip is here';
    return;
  }
  try {
    run(python, ['-m', 'venv', join(dir, 'venv')]);
    const pip = (...args: string[]) => run(inVenv('pip'), ['--disable-pip-version-check', '--quiet', ...args]);
    pip('wheel', '--no-deps', '--wheel-dir', join(dir, 'wheels'), source);
    pip('install', '--requirement', join(source, 'requirements.txt'));
    const [wheel = ''] = readdirSync(join(dir, 'wheels'));
    pip('install', '--no-deps', join(dir, 'wheels', wheel));
    pip('check');
  } catch (error) {
    if (!AWAY.test(String(error))) throw error;
    away = `pip cannot install packages here: ${error}`;
  }
}, 300_000);
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await e2e?.close();
});

/** Runs a program to its end. Returns what it printed. Throws what it printed to stderr if it fails. */
function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: dir, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

it('runs the snippet of the README', async ({ skip }) => {
  if (away) skip(away);
  const code = readmeSnippet('feed_backend.py', e2e.stack.targets);
  expect(run(inVenv('python'), ['-c', code])).toMatch(/^i000\d \d+ full\n$/);
  await e2e.untilApplied('u000001', 1);
});

it('records and ranks as the SDK does, and says what is wrong', async ({ skip }) => {
  if (away) skip(away);
  const script = fileURLToPath(new URL('./python_package.py', import.meta.url));
  const { ranking, updater } = e2e.stack.targets;
  const found = JSON.parse(run(inVenv('python'), [script, ranking, updater]));
  const userId = 'py-package';
  const history = Array.from({ length: 20 }, (_, i) => {
    return { userId, itemId: `i${String(i + 1).padStart(4, '0')}`, timestampMs: 1_700_000_000_000 + i };
  });
  const candidateIds = ['i0001', 'i0002', 'i0003'];
  // The ids that the SDK makes of the key: nothing is queued again.
  expect(await e2e.client.recordInteractions(history, { idempotencyKey: 'é-key' })).toEqual(found.keyed);
  expect(found).toMatchObject({ again: found.keyed, manyCount: 1_001, positions: 20, rung: 'full', merged: 1 });
  const own = await e2e.client.rank({
    userId,
    candidateIds,
    candidateFeatures: { freshness: [0.1, 0.5, 0.9] },
    contextFeatures: { hour: 3 },
  });
  expect(own.info.positionCount).toBe(20);
  expect(found.scores).toEqual([...own.scores]);
  expect(found.ranked).toEqual(own.ranked.map(({ itemId }) => itemId));
  expect(found.streamed).toEqual([found.scores, found.scores]);
  expect(found.failures).toEqual([
    { reason: 'invalid_request', field: 'candidate_features[0].name', message: expect.stringContaining('use one of') },
    { reason: 'dependency_unavailable', field: '', message: expect.stringContaining('127.0.0.1:1 cannot be reached') },
    { reason: 'dependency_unavailable', field: '', message: expect.stringContaining('answers as another service') },
    { reason: 'invalid_request', field: 'ranking_target', message: expect.stringContaining('is not HOST:PORT') },
  ]);
});
