import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createMetrics } from '@collectivekv/service-kit';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { createUserCacheMetrics } from './metrics.js';
import { watchRecordsRedis } from './records-redis.js';

let dir: string;
let redis: PrivateRedis;
let client: RedisClient;
let end: (() => void) | undefined;
const log = { warn: vi.fn() };
const metrics = createMetrics('test');

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-records-redis-'));
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
  await rm(dir, { recursive: true, force: true });
});
afterEach(() => end?.());

async function evictedCount(): Promise<number> {
  const metric = await metrics.registry.getSingleMetric('ckv_redis_evicted_keys_total')?.get();
  return metric?.values[0]?.value ?? Number.NaN;
}

it('warns of a policy that evicts, stays ready, and counts evicted keys', async () => {
  const onTried = vi.fn();
  end = watchRecordsRedis({ client, keyPrefix: 'ckv', onTried, metrics: createUserCacheMetrics(metrics), log });
  await vi.waitUntil(() => onTried.mock.calls.length > 0, { timeout: 5_000 });
  expect(log.warn).not.toHaveBeenCalled();

  await client.config('SET', 'maxmemory-policy', 'allkeys-random');
  await vi.waitUntil(() => log.warn.mock.calls.length > 0, { timeout: 5_000 });
  const problem = expect.stringMatching(/^CKV_REDIS_URL: .*allkeys-random; set maxmemory-policy noeviction/);
  expect(log.warn.mock.calls).toMatchObject([[{ problem }, 'Redis']]);

  await client.config('SET', 'maxmemory', '2mb');
  for (let i = 0; i < 40; i++) await client.set(`filler-${i}`, Buffer.alloc(100_000));
  await vi.waitUntil(async () => (await evictedCount()) > 0, { timeout: 5_000 });
  const [, evicted] = /^evicted_keys:(\d+)/m.exec(await client.info('stats')) ?? [];
  expect(await evictedCount()).toBe(Number(evicted));
  await vi.waitUntil(() => log.warn.mock.calls.length === 2, { timeout: 5_000 });
  expect(onTried).not.toHaveBeenCalledWith(false);
});
