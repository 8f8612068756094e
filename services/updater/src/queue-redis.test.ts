import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { type QueueRedis, watchQueueRedis } from './queue-redis.js';

let dir: string;
let redis: PrivateRedis;
let client: RedisClient | undefined;
let queueRedis: QueueRedis | undefined;
const log = { warn: vi.fn(), error: vi.fn() };
const onTried = vi.fn();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-queue-redis-'));
  const args = ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'];
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis'), args });
});
afterAll(async () => {
  await redis.stop();
  await rm(dir, { recursive: true, force: true });
});
afterEach(() => {
  queueRedis?.close();
  if (client) closeRedis(client);
  vi.clearAllMocks();
});

function watch(url: string): QueueRedis {
  client = connectRedis(url, { field: 'url', name: 'test', whenAway: 'fail', onError: () => undefined });
  queueRedis = watchQueueRedis({ client, keyPrefix: 'ckv', onTried, log });
  return queueRedis;
}

it('refuses a Redis that may evict, and logs it once', async () => {
  await expect(watch(redis.url).tried).rejects.toMatchObject({
    reason: 'dependency_unavailable',
    message: expect.stringMatching(/^CKV_QUEUE_REDIS_URL: .*allkeys-lru; set maxmemory-policy noeviction$/),
  });
  await vi.waitUntil(() => onTried.mock.calls.length > 1, { timeout: 5_000 });
  expect(onTried).not.toHaveBeenCalledWith(true);
  expect(log.error.mock.calls).toMatchObject([
    [{ problem: expect.stringContaining('allkeys-lru') }, expect.anything()],
  ]);
});

it('lets the service start if Redis cannot be reached', async () => {
  await watch('redis://127.0.0.1:1').tried;
  expect(() => queueRedis?.requireNoEviction()).not.toThrow();
  expect(onTried).not.toHaveBeenCalledWith(true);
});

it('trusts a Redis whose access rules hide the policy, and warns', async () => {
  const admin = watch(redis.url);
  await admin.tried.catch(() => undefined);
  await client?.acl('SETUSER', 'blind', 'reset', 'on', '>secret', '~*', '+@all', '-info');
  admin.close();
  if (client) closeRedis(client);
  onTried.mockClear();
  await watch(redis.url.replace('//', '//blind:secret@')).tried;
  expect(onTried).toHaveBeenCalledWith(true);
  expect(log.warn.mock.calls).toMatchObject([[{ problem: expect.stringContaining('+info') }, expect.anything()]]);
});
