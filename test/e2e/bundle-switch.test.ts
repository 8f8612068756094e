// The active bundle changes, and changes back, while requests arrive.
import { spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleIdOf, servesUser } from '@collectivekv/domain';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEMO_BUNDLE, type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let dir: string;
let e2e: E2eStack;
let [first, second, third] = ['', '', ''];
const candidateIds = ['i0001', 'i0002'];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-two-bundles-'));
  cpSync(DEMO_BUNDLE, join(dir, 'first'), { recursive: true });
  cpSync(DEMO_BUNDLE, join(dir, 'second'), { recursive: true });
  cpSync(DEMO_BUNDLE, join(dir, 'third'), { recursive: true });
  const manifest = JSON.parse(readFileSync(join(dir, 'first', 'bundle.json'), 'utf8'));
  for (const name of ['second', 'third']) {
    writeFileSync(join(dir, name, 'bundle.json'), JSON.stringify({ ...manifest, name }));
  }
  [first = '', second = '', third = ''] = ['first', 'second', 'third'].map((name) =>
    bundleIdOf(readFileSync(join(dir, name, 'bundle.json'))),
  );
  e2e = await startE2e({
    dir: join(dir, 'stack'),
    bundlesDir: dir,
    replicas: { pool: 2 },
    env: { pool: { CKV_ACTIVE_BUNDLE: 'demo' } },
  });
});
afterAll(async () => {
  await e2e?.close();
  rmSync(dir, { recursive: true, force: true });
});

const served = async () => (await e2e.client.rank({ userId: 'u', candidateIds })).info.bundleId;

it('switches bundles without a failed request, keeps the records of both, and rolls back', async () => {
  expect(await served()).toBe(first);
  await e2e.client.recordInteractions(interactionsOf('u', 3));
  await e2e.untilApplied('u', 3);

  let ranking = true;
  const failures: unknown[] = [];
  const seen = new Set<string>();
  const requests = (async () => {
    while (ranking) {
      try {
        seen.add(await served());
      } catch (error) {
        failures.push(error);
      }
    }
  })();

  await e2e.pool.call('Activate', { bundleId: second });
  await expect.poll(served, { timeout: 60_000 }).toBe(second);
  await expect
    .poll(() => e2e.client.rank({ userId: 'u', candidateIds, bundleId: first }).then(({ info }) => info.positionCount))
    .toBe(3);

  // From now on, interactions are appended to the records of both bundles.
  await expect
    .poll(
      async () => {
        const [one] = interactionsOf('u', 1, Math.floor(Math.random() * 1e6));
        if (one) await e2e.client.recordInteractions([one]);
        const { info } = await e2e.client.rank({ userId: 'u', candidateIds });
        return info.bundleId === second && info.positionCount;
      },
      { timeout: 60_000 },
    )
    .toBeGreaterThan(0);
  const { info } = await e2e.client.rank({ userId: 'u', candidateIds, bundleId: first });
  expect(info.positionCount).toBeGreaterThan(3);

  await e2e.pool.call('Rollback', {});
  await expect.poll(served, { timeout: 60_000 }).toBe(first);
  ranking = false;
  await requests;
  expect(failures).toEqual([]);
  expect(seen).toEqual(new Set([first, second]));
});

it('lists every bundle that can be activated, with its state', async () => {
  const command = [
    fileURLToPath(new URL('../../packages/cli/bin/ckv.js', import.meta.url)),
    '--json',
    'bundle',
    'list',
  ];
  const list = () => {
    const env = { ...process.env, CKV_POOL_TARGET: e2e.stack.targets.pool };
    const bundles: { id: string; state: string }[] = JSON.parse(
      spawnSync(process.execPath, command, { encoding: 'utf8', env }).stdout,
    );
    return bundles.map(({ id, state }) => [id, state]);
  };
  // The command may ask the other pool, which follows the rollback within about a second.
  await expect.poll(list, { timeout: 60_000 }).toEqual([
    [first, 'active'],
    [second, 'kept for a rollback'],
    [third, 'loaded'],
  ]);
});

it('serves the users of a canary by it, and all users by the active bundle after a rollback', async () => {
  const users = Array.from({ length: 60 }, (_, i) => `canary-${i}`);
  const answers = () => Promise.all(users.map((userId) => e2e.client.rank({ userId, candidateIds })));
  const servedBy = async (bundleId: string) =>
    (await answers()).flatMap(({ info }, i) => (info.bundleId === bundleId ? [users[i]] : []));
  await e2e.pool.call('SetCandidate', { bundleId: third, shareBp: 3_000 });
  const wanted = users.filter((userId) => servesUser({ bundleId: third, shareBp: 3_000 }, userId));
  await expect.poll(() => servedBy(third), { timeout: 60_000 }).toEqual(wanted);
  const shares = new Set((await answers()).map(({ info }) => `${info.bundleId} ${info.canaryShareBp}`));
  expect(shares).toEqual(new Set([`${first} 0`, `${third} 3000`]));
  const pinned = await e2e.client.rank({ userId: wanted[0] ?? '', candidateIds, bundleId: first });
  expect(pinned.info).toMatchObject({ bundleId: first, canaryShareBp: 0 });
  expect(await e2e.pool.call('Rollback', {})).toEqual({ activeBundleId: first, endedCanaryIds: [third] });
  await expect.poll(() => servedBy(first), { timeout: 60_000 }).toEqual(users);
  await e2e.pool.call('CancelCandidate', { bundleId: third });
});

it('fetches a bundle again if its cached copy was changed', async () => {
  const [ranking] = e2e.stack.services.ranking;
  await ranking?.kill();
  appendFileSync(join(dir, 'stack', 'cache', 'ranking-0', first, 'bundle.json'), ' ');
  await ranking?.restart();
  await ranking?.untilReady();
  // Ranking may ask the other pool, which follows the rollback within about a second.
  await expect.poll(served, { timeout: 60_000 }).toBe(first);
});

it('refuses to activate an unknown bundle', async () => {
  const unknown = e2e.pool.call('Activate', { bundleId: '0123456789abcdef' });
  await expect(unknown).rejects.toMatchObject({ reason: 'bundle_not_loaded', field: 'bundle_id' });
});
