import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, connectRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createMetrics } from '@collectivekv/service-kit';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { createUserCacheMetrics } from './metrics.js';
import { watchRecordsRedis } from './records-redis.js';

let redis: PrivateRedis;
let client: RedisClient;
let end: (() => void) | undefined;
const log = { warn: vi.fn() };
const metrics = createMetrics('test');

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});
afterEach(() => {
  end?.();
  log.warn.mockClear();
});

async function evictedCount(): Promise<number> {
  const metric = await metrics.registry.getSingleMetric('ckv_redis_evicted_keys_total')?.get();
  return metric?.values[0]?.value ?? Number.NaN;
}

it('logs once that Redis refuses writes', async () => {
  const onTried = vi.fn();
  await client.replicaof('127.0.0.1', '1');
  end = watchRecordsRedis({ client, keyPrefix: 'ckv', onTried, metrics: { observeEvictions: vi.fn() }, log });
  await vi.waitUntil(() => onTried.mock.calls.length > 2, { timeout: 10_000 });
  expect(onTried).not.toHaveBeenCalledWith(true);
  const problem = expect.stringMatching(/^(READONLY|LOADING) /);
  expect(log.warn.mock.calls).toMatchObject([[{ problem }, 'Redis takes no writes']]);
  await client.replicaof('NO', 'ONE');
  await vi.waitUntil(() => onTried.mock.calls.at(-1)?.[0] === true, { timeout: 10_000 });
});

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
  const [, evicted] = /^evicted_keys:(\d+)/m.exec(await client.info('stats')) ?? [];
  expect(Number(evicted)).toBeGreaterThan(0);
  await vi.waitUntil(async () => (await evictedCount()) === Number(evicted), { timeout: 5_000 });
  await vi.waitUntil(() => log.warn.mock.calls.length === 2, { timeout: 5_000 });
  expect(onTried).not.toHaveBeenCalledWith(false);
});

it('warns once that Redis has too few replicas, and once that it has enough again', async () => {
  const primary = await startTemporaryRedis({ args: ['--repl-diskless-sync-delay', '0'] });
  let replica: PrivateRedis | undefined;
  const confirmed = connectRedis(primary.url, {
    field: 'url',
    name: 'test',
    whenAway: 'fail',
    onError: () => undefined,
    confirmReplicas: 1,
  });
  const onTried = vi.fn();
  const metrics = { observeEvictions: vi.fn() };
  const close = watchRecordsRedis({ client: confirmed, keyPrefix: 'ckv', onTried, metrics, log });
  try {
    await vi.waitUntil(() => onTried.mock.calls.filter(([able]) => !able).length > 2, { timeout: 30_000 });
    const problem = '0 of 1 replicas confirmed a write within 1000 ms; add replicas, or lower CKV_CONFIRM_REPLICAS';
    expect(log.warn.mock.calls).toEqual([[{ problem }, 'Redis takes no writes']]);
    replica = await startTemporaryRedis({ args: ['--replicaof', '127.0.0.1', String(primary.port)] });
    await vi.waitUntil(() => onTried.mock.calls.filter(([able]) => able).length > 2, { timeout: 30_000 });
    expect(log.warn.mock.calls.slice(1)).toEqual([['Redis takes writes again']]);
  } finally {
    close();
    closeRedis(confirmed);
    await replica?.stop();
    await primary.stop();
  }
}, 90_000);
