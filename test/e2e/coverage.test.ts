// A bundle with another encoding becomes warm, is refused while its records are missing, and serves when they are there.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleIdOf, encodingIdOf, parseManifest } from '@collectivekv/domain';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEMO_BUNDLE, type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

const SLOW = { timeout: 60_000, interval: 200 };
const candidateIds = ['i0001', 'i0002'];
const usersOf = (prefix: string) => Array.from({ length: 20 }, (_, i) => `${prefix}-${i}`);
const [before, after] = [usersOf('before'), usersOf('after')];
let dir: string;
let e2e: E2eStack;
let other: { id: string; encodingId: string };

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-coverage-'));
  cpSync(DEMO_BUNDLE, join(dir, 'bundles', 'demo'), { recursive: true });
  e2e = await startE2e({
    dir: join(dir, 'stack'),
    bundlesDir: join(dir, 'bundles'),
    env: { pool: { CKV_ACTIVE_BUNDLE: 'demo' }, ranking: { CKV_COVERAGE_RATE: '1000' } },
  });
  for (const user of before) await e2e.client.recordInteractions(interactionsOf(user, 3));
  for (const user of before) await e2e.untilApplied(user, 3);

  // The bundle comes while the pool runs.
  const path = join(dir, 'bundles', 'other', 'bundle.json');
  cpSync(DEMO_BUNDLE, join(dir, 'bundles', 'other'), { recursive: true });
  const manifest = JSON.parse(readFileSync(path, 'utf8'));
  const bytes = Buffer.from(JSON.stringify({ ...manifest, name: 'other', maxPositions: manifest.maxPositions - 1 }));
  writeFileSync(path, bytes);
  other = { id: bundleIdOf(bytes), encodingId: encodingIdOf(parseManifest(bytes)) };
});
afterAll(async () => {
  await e2e?.close();
  rmSync(dir, { recursive: true, force: true });
});

const rankAll = (users: readonly string[]) =>
  Promise.all(users.map((userId) => e2e.client.rank({ userId, candidateIds })));

/** Ranks for users, then tries to activate the bundle. Returns the failure's text; empty without one. */
async function tryToActivate(users: readonly string[], minCoverageBp = 0): Promise<string> {
  await rankAll(users);
  const activated = e2e.pool.call('Activate', { bundleId: other.id, minCoverageBp });
  return activated.then(
    () => '',
    ({ reason, message }) => `${reason} ${message}`,
  );
}

it('is refused while nobody has looked, and while no user has records under it', async () => {
  await e2e.pool.call('SetCandidate', { bundleId: other.id });
  const loadedBy = async () => {
    const { followers } = await e2e.pool.call('ListFollowers', {});
    const has = followers.filter(({ bundles }) =>
      bundles.some(({ bundleId, loaded }) => loaded && bundleId === other.id),
    );
    return has.map(({ service }) => service).sort();
  };
  await expect.poll(loadedBy, SLOW).toEqual(['ranking', 'updater']);
  expect(await tryToActivate([])).toMatch(/^bundle_cold bundle_id: its coverage is unknown: ranking has looked at 0/);
  await expect.poll(() => tryToActivate(before), SLOW).toMatch(/^bundle_cold bundle_id: 0\.0% of \d{3,} rank requests/);
  await expect(e2e.pool.call('SetCandidate', { bundleId: other.id, shareBp: 100 })).rejects.toMatchObject({
    reason: 'bundle_cold',
  });
});

it('gets the records of new interactions beside the active bundle, and serves when enough users have them', async () => {
  for (const user of after) await e2e.client.recordInteractions(interactionsOf(user, 3));
  const warmUsers = async () => {
    const { records } = await e2e.userCache.call('GetRecords', { encodingId: other.encodingId, userIds: after });
    return records.filter(({ length }) => length > 0).length;
  };
  await expect.poll(warmUsers, SLOW).toBe(after.length);
  await expect.poll(() => tryToActivate(after, 5_000), SLOW).toBe('');
  const served = async () => {
    const answers = await rankAll(after);
    return new Set(answers.map(({ info }) => `${info.bundleId} ${info.positionCount}`));
  };
  await expect.poll(served, SLOW).toEqual(new Set([`${other.id} 3`]));
  await e2e.pool.call('Rollback', {});
  await expect.poll(served, SLOW).toEqual(new Set([`${e2e.bundle.model.id} 3`]));
});

it('is measured anew when its records were deleted', async () => {
  const coverage = async () => {
    await rankAll(after);
    const { followers } = await e2e.pool.call('ListFollowers', {});
    const reports = followers.flatMap(({ bundles }) => bundles.filter(({ bundleId }) => bundleId === other.id));
    const sum = (count: 'sampledCount' | 'warmCount') => reports.reduce((total, report) => total + report[count], 0);
    return { sampledCount: sum('sampledCount'), warmCount: sum('warmCount') };
  };
  await expect.poll(async () => (await coverage()).warmCount, SLOW).toBeGreaterThan(100);
  await e2e.userCache.call('DropRecords', { encodingId: other.encodingId, validUntilMs: Date.now() + 60_000 });
  await e2e.pool.call('NoteRecordsChange', { encodingId: other.encodingId });
  const first = { sampledCount: 0, warmCount: 0 };
  await expect.poll(async () => Object.assign(first, await coverage()).sampledCount, SLOW).toBeGreaterThan(0);
  expect(first.warmCount).toBe(0);
});
