// Captured requests are replayed by "ckv replay", a deletion reaches captures, and audits confirm what was served.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RankInput } from '@collectivekv/client';
import { startServiceProcess } from '@collectivekv/dev-stack';
import { bundleIdOf } from '@collectivekv/domain';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  DEMO_BUNDLE,
  type E2eStack,
  interactionsOf,
  type OtherRanking,
  startE2e,
  startOtherRanking,
} from './e2e-stack.js';

const BUSY = { timeout: 60_000, interval: 20 };
const CKV = fileURLToPath(new URL('../../packages/cli/bin/ckv.js', import.meta.url));
const candidateIds = Array.from({ length: 60 }, (_, i) => `i${String(i * 31).padStart(4, '0')}`);

let dir: string;
let shadowId: string;
let e2e: E2eStack;
let remote: OtherRanking;
const folderOf = (name: string) => join(dir, 'captures', name);
const capturesIn = (name: string) => readdirSync(folderOf(name)).filter((file) => file.endsWith('.capture'));

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-checking-'));
  for (const name of ['demo', 'shadow']) cpSync(DEMO_BUNDLE, join(dir, 'bundles', name), { recursive: true });
  const manifest = JSON.parse(readFileSync(join(DEMO_BUNDLE, 'bundle.json'), 'utf8'));
  writeFileSync(join(dir, 'bundles', 'shadow', 'bundle.json'), JSON.stringify({ ...manifest, name: 'shadow' }));
  shadowId = bundleIdOf(readFileSync(join(dir, 'bundles', 'shadow', 'bundle.json')));
  mkdirSync(join(dir, 'captures'));
  for (const [name, key] of [
    ['right', '1f'],
    ['wrong', '2e'],
  ] as const) {
    writeFileSync(join(dir, `${name}.key`), `${key.repeat(32)}\n`);
  }
  const captures = (name: string) => ({
    CKV_CAPTURE_DIR: folderOf(name),
    CKV_CAPTURE_KEY_FILE: join(dir, 'right.key'),
    CKV_WORKERS: '2',
    CKV_PART_CANDIDATES: '10',
    CKV_AUDIT_SHARE: '100%',
    CKV_AUDIT_MAX_PER_S: '1000',
  });
  e2e = await startE2e({
    dir: join(dir, 'stack'),
    bundlesDir: join(dir, 'bundles'),
    env: { pool: { CKV_ACTIVE_BUNDLE: 'demo' }, ranking: { ...captures('replica'), CKV_SHADOW_BUNDLE: shadowId } },
  });
  remote = await startOtherRanking(e2e.stack, { ...captures('remote'), CKV_POOL_MODE: 'remote' });
  for (const userId of ['u1', 'u2']) {
    await e2e.client.recordInteractions(interactionsOf(userId, 40));
    await e2e.untilApplied(userId, 40);
  }
});
afterAll(async () => {
  await remote?.close();
  await e2e?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Requests of every kind. */
const inputs: RankInput[] = [
  { userId: 'u1', candidateIds },
  { userId: 'u1', candidateIds: candidateIds.slice(0, 3), recentInteractions: interactionsOf('u1', 3, 39) },
  { userId: 'u2', candidateIds, history: 'ignored' },
  { userId: 'nobody', candidateIds },
];

function replay(name: string, key = 'right', ...more: string[]) {
  const files = capturesIn(name).map((file) => join(folderOf(name), file));
  const args = ['replay', '--key-file', join(dir, `${key}.key`), ...more, ...files];
  const env = { ...process.env, CKV_POOL_TARGET: e2e.stack.targets.pool };
  const { status, stdout, stderr } = spawnSync(process.execPath, [CKV, ...args], { encoding: 'utf8', env });
  return { status, stdout, stderr };
}

async function metricOf(name: string, labels: Readonly<Record<string, string>>): Promise<number> {
  const text = await (await fetch(`http://${e2e.stack.services.ranking[0]?.metricsAddress}/metrics`)).text();
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const line = text
    .split('\n')
    .find((one) => one.startsWith(`${name}{`) && wanted.every((label) => one.includes(label)));
  return Number(line?.split('} ')[1] ?? Number.NaN);
}

describe.each(['replica', 'remote'])('captured requests in %s mode', (mode) => {
  it('are replayed bit for bit', async () => {
    const client = mode === 'remote' ? remote.client : e2e.client;
    for (const [i, input] of inputs.entries()) {
      const { info } = await client.rank({ ...input, captureId: `c${i}` });
      expect(info.capture).toBe('taken');
    }
    await vi.waitUntil(() => capturesIn(mode).length === inputs.length, BUSY);
    const { status, stdout, stderr } = replay(mode, 'right', '--exact', '--verbose');
    expect(stdout).toContain('computed by cpu, float32');
    expect(stdout + stderr).toContain('4 captures: 4 identical, 0 within the limit, 0 beyond it, 0 failed');
    expect(status).toBe(0);
  });
});

it('a request without a capture id, or with one in use, is not captured', async () => {
  expect((await e2e.client.rank({ userId: 'u1', candidateIds })).info.capture).toBe('none');
  expect((await e2e.client.rank({ userId: 'u1', candidateIds, captureId: 'c0' })).info.capture).toBe('id_used');
  await expect(e2e.client.rank({ userId: 'u1', candidateIds, captureId: '../c' })).rejects.toMatchObject({
    reason: 'invalid_request',
  });
});

it('a replay fails with another key, and for the capture in which a byte was flipped', () => {
  const wrong = replay('replica', 'wrong');
  expect(wrong).toMatchObject({ status: 1 });
  expect(wrong.stdout).toContain('is encrypted with key');
  expect(wrong.stdout).toContain('4 captures: 0 identical, 0 within the limit, 0 beyond it, 4 failed');
  cpSync(folderOf('replica'), folderOf('damaged'), { recursive: true });
  const [file = ''] = capturesIn('damaged');
  const bytes = readFileSync(join(folderOf('damaged'), file));
  bytes[200] = (bytes[200] ?? 0) ^ 1;
  writeFileSync(join(folderOf('damaged'), file), bytes);
  const damaged = replay('damaged');
  expect(damaged).toMatchObject({ status: 1 });
  expect(damaged.stdout).toContain(`${file}: `);
  expect(damaged.stdout).toContain('is damaged: its content does not match its check');
  expect(damaged.stdout).toContain('4 captures: 3 identical, 0 within the limit, 0 beyond it, 1 failed');
});

it('audits confirm every served answer, and a shadow bundle of the same weights gives the same order', async () => {
  for (const check of ['path', 'shadow']) {
    const compared = () => metricOf('ckv_audit_answers_total', { check, outcome: 'compared' });
    await vi.waitUntil(async () => (await compared()) >= inputs.length, BUSY);
    const count = await metricOf('ckv_audit_score_difference_count', { check });
    expect(await metricOf('ckv_audit_score_difference_bucket', { check, le: '0.0001' })).toBe(count);
    expect(await metricOf('ckv_audit_kendall_tau_sum', { check })).toBeGreaterThan(0.99 * count);
  }
  expect(await metricOf('ckv_audit_breaches_total', { check: 'path' })).toBe(0);
});

it('a deletion of a user removes the captures, and leaves those of others', async () => {
  const ids = (name: string) =>
    capturesIn(name)
      .map((file) => file.split('.')[0])
      .sort();
  expect(ids('replica')).toEqual(['c0', 'c1', 'c2', 'c3']);
  await e2e.client.deleteUser('u1', { wait: true });
  for (const mode of ['replica', 'remote']) {
    await expect.poll(() => ids(mode), BUSY).toEqual(['c2', 'c3']);
  }
});

it.each([
  ['captures without a key', { CKV_CAPTURE_DIR: 'captures' }, 'CKV_CAPTURE_DIR: is set, but captures hold user data'],
  ['a shadow bundle without audits', { CKV_SHADOW_BUNDLE: '0123456789abcdef' }, 'CKV_SHADOW_BUNDLE: is set, but no'],
])('ranking does not start with %s', async (_, env, problem) => {
  const logFile = join(dir, 'refused.log');
  const starting = startServiceProcess({ name: 'ranking', logFile, env: { CKV_BIND: '127.0.0.1:0', ...env } });
  await expect(starting).rejects.toThrow();
  expect(readFileSync(logFile, 'utf8')).toContain(problem);
});
