// The active bundle changes, and changes back, while requests arrive.
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { servesUser } from '@collectivekv/domain';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { copyDemo, copyDemoWithOtherEncoding } from './bundle-copies.js';
import { type E2eStack, interactionsOf, startE2e, withQueue } from './e2e-stack.js';

let dir: string;
let e2e: E2eStack;
/** Ids of the bundles. The third has the encoding of the first, the second has its own. */
let [first, second, third] = ['', '', ''];
let encodings = { first: '', second: '' };
const candidateIds = ['i0001', 'i0002'];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-three-bundles-'));
  const one = copyDemo(join(dir, 'first'), 'first');
  const two = copyDemoWithOtherEncoding(join(dir, 'second'), 'second');
  const three = copyDemo(join(dir, 'third'), 'third');
  expect(three.encodingId).toBe(one.encodingId);
  [first, second, third] = [one.id, two.id, three.id];
  encodings = { first: one.encodingId, second: two.encodingId };
  e2e = await startE2e({
    dir: join(dir, 'stack'),
    bundlesDir: dir,
    replicas: { pool: 2 },
    env: { pool: { CKV_ACTIVE_BUNDLE: 'first' } },
  });
});
afterAll(async () => {
  await e2e?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Returns how many positions the user-cache skipped, because the record knows their event. */
async function duplicateCount(): Promise<number> {
  const [userCache] = e2e.stack.services['user-cache'];
  const text = await (await fetch(`http://${userCache?.metricsAddress}/metrics`)).text();
  return Number(/^ckv_positions_total\{outcome="duplicate"\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

const served = async () => (await e2e.client.rank({ userId: 'u', candidateIds })).info.bundleId;

it('switches encodings without a failed request, keeps the records of both, and rolls back', async () => {
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

  await e2e.pool.call('Activate', { bundleId: second, force: true });
  await expect.poll(served, { timeout: 60_000 }).toBe(second);
  await expect
    .poll(() => e2e.client.rank({ userId: 'u', candidateIds, bundleId: first }).then(({ info }) => info.positionCount))
    .toBe(3);

  // From now on, interactions are appended to the records of both encodings.
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

it('serves the old records at once after a switch to a bundle of the same encoding, and writes each event once', async () => {
  await e2e.client.recordInteractions(interactionsOf('w', 20));
  await e2e.untilApplied('w', 20);
  const rank = async () => (await e2e.client.rank({ userId: 'w', candidateIds })).info;
  expect(await rank()).toMatchObject({ bundleId: first, encodingId: encodings.first, positionCount: 20 });
  const duplicatesBefore = await duplicateCount();

  await e2e.pool.call('Activate', { bundleId: third });
  const seen: number[] = [];
  await vi.waitUntil(
    async () => {
      const { bundleId, encodingId, positionCount } = await rank();
      expect(encodingId).toBe(encodings.first);
      seen.push(positionCount);
      return bundleId === third;
    },
    { timeout: 60_000, interval: 0 },
  );
  expect(new Set(seen)).toEqual(new Set([20]));

  await withQueue(e2e, async ({ redis }) => {
    // Once the updater follows the new bundle, it writes records of one encoding only.
    const key = (userId: string, encodingId: string) => `ckv:{${userId}}:${encodingId.slice(0, 8)}`;
    let tries = 0;
    const followed = async () => {
      const userId = `probe-${tries++}`;
      await e2e.client.recordInteractions(interactionsOf(userId, 1));
      await e2e.untilApplied(userId, 1);
      return (await redis.exists(key(userId, encodings.second))) === 0;
    };
    await vi.waitUntil(followed, { timeout: 60_000, interval: 50 });
    await e2e.client.recordInteractions(interactionsOf('w', 5, 20));
    const record = await e2e.untilApplied('w', 25);
    await e2e.expectRows(record, interactionsOf('w', 25));
    expect(record).toMatchObject({ lifetimeCount: 25, encodingId: encodings.first });
  });
  expect((await rank()).positionCount).toBe(25);
  expect(await duplicateCount()).toBe(duplicatesBefore);

  await e2e.pool.call('Activate', { bundleId: first });
  await expect.poll(async () => (await rank()).bundleId, { timeout: 60_000 }).toBe(first);
  expect((await rank()).positionCount).toBe(25);
});

function ckvBundle(...args: string[]): unknown {
  const command = [fileURLToPath(new URL('../../packages/cli/bin/ckv.js', import.meta.url)), '--json', 'bundle'];
  const { pool } = e2e.stack.targets;
  const env = { ...process.env, CKV_POOL_TARGET: pool, CKV_QUEUE_REDIS_URL: e2e.stack.redisUrl };
  return JSON.parse(spawnSync(process.execPath, [...command, ...args], { encoding: 'utf8', env }).stdout);
}

it('lists every bundle that can be activated, with its state', async () => {
  const list = () => {
    const bundles = ckvBundle('list') as { id: string; encodingId: string; state: string }[];
    return bundles.map(({ id, encodingId, state }) => [id, encodingId, state]);
  };
  // The command may ask the other pool, which follows the rollback within about a second.
  await expect.poll(list, { timeout: 60_000 }).toEqual([
    [first, encodings.first, 'active'],
    [second, encodings.second, 'loaded'],
    [third, encodings.first, 'previous'],
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
  expect(await e2e.pool.call('Rollback', {})).toMatchObject({ activeBundleId: first, endedCanaryIds: [third] });
  await expect.poll(() => servedBy(first), { timeout: 60_000 }).toEqual(users);
});

it('says of a cancelled bundle that it stays as the previous one, or is dropped', async () => {
  await e2e.pool.call('SetCandidate', { bundleId: second });
  expect(ckvBundle('cancel', second)).toEqual({ bundleId: second, state: 'loaded' });
  expect(ckvBundle('cancel', third)).toEqual({ bundleId: third, state: 'previous' });
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
