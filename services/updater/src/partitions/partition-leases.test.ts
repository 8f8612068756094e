import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { createPartitionLeases, LEASE_MS } from './partition-leases.js';

let dir: string;
let redis: PrivateRedis;
let client: RedisClient;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-leases-'));
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  await client.flushall();
});

const member = () => createPartitionLeases(client, 'ckv', 16);

it('gives one member everything, and a fair share to each that comes', async () => {
  const [a, b, c] = [member(), member(), member()];
  expect((await a.renew()).held.length).toBe(16);
  expect(await b.renew()).toEqual({ held: [], surplus: 0 });
  const { held, surplus } = await a.renew();
  expect(surplus).toBe(8);
  await a.release(held.slice(0, surplus));
  expect((await b.renew()).held).toEqual(held.slice(0, 8));
  await c.renew();
  const shares = [await a.renew(), await b.renew()].map((share) => share.held.length - share.surplus);
  expect(shares.every((share) => share === 5 || share === 6)).toBe(true);
});

it('never lets two members hold a partition, whatever they do', async () => {
  const members = [member(), member(), member()];
  for (let i = 0; i < 60; i++) {
    const one = members[(i * 7) % 3];
    if (!one) continue;
    const { held, surplus } = await one.renew();
    if (i % 4 === 0) await one.release(held.slice(0, surplus));
    if (i % 13 === 0) await one.leave();
    const holders = Array.from(
      { length: 16 },
      (_, partition) => members.filter((other) => other.isHeld(partition)).length,
    );
    expect(Math.max(...holders)).toBeLessThanOrEqual(1);
  }
});

it("takes over a dead member's partitions when its lease ends, and a leaving one's at once", async () => {
  const [dead, next, last] = [member(), member(), member()];
  await dead.renew();
  await client.zadd('{ckv}:updaters', 1, dead.member); // as when its heartbeats stopped long ago
  for (let partition = 0; partition < 16; partition++) {
    await client.hset('{ckv}:partition-leases', partition, `${dead.member} 1`);
  }
  expect((await next.renew()).held.length).toBe(16);
  await next.leave();
  expect(next.isHeld(0)).toBe(false);
  expect((await last.renew()).held.length).toBe(16);
});

it('trusts a lease no longer than it lasts by its own clock', async () => {
  const one = member();
  await one.renew();
  expect(one.isHeld(3)).toBe(true);
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + LEASE_MS + 1);
  expect(one.isHeld(3)).toBe(false);
  vi.restoreAllMocks();
});

it('tells a lease held all along from one that ran out and came back', async () => {
  const one = member();
  await one.renew();
  const takenMs = performance.now();
  await one.renew();
  expect(one.isHeldSince(3, takenMs)).toBe(true);
  vi.spyOn(performance, 'now').mockReturnValue(takenMs + 2 * LEASE_MS);
  await one.renew();
  expect(one.isHeld(3)).toBe(true);
  expect(one.isHeldSince(3, takenMs)).toBe(false);
  expect(one.isHeldSince(3, performance.now())).toBe(true);
  vi.restoreAllMocks();
});

it('tells a lease that another member had in between', async () => {
  const [one, other] = [member(), member()];
  await one.renew();
  const takenMs = performance.now();
  await one.leave();
  await other.renew();
  await other.leave();
  await one.renew();
  expect(one.isHeldSince(3, takenMs)).toBe(false);
});
