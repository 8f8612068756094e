import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, connectRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { type QueueRedis, watchQueueRedis } from './queue-redis.js';

let redis: PrivateRedis;
let client: RedisClient | undefined;
let queueRedis: QueueRedis | undefined;
const log = { warn: vi.fn(), error: vi.fn() };
const onTried = vi.fn();

beforeAll(async () => {
  redis = await startTemporaryRedis({ args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'] });
});
afterAll(async () => {
  await redis.stop();
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

/** Adds a user of Redis with these access rules. Returns a URL of that user. */
async function urlOfUser(name: string, ...rules: string[]): Promise<string> {
  const admin = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  await admin.call('ACL', 'SETUSER', name, 'reset', 'on', '>secret', '~*', ...rules);
  closeRedis(admin);
  return redis.url.replace('//', `//${name}:secret@`);
}

it('is not ready if Redis refuses writes, and logs its reply once', async () => {
  await watch(await urlOfUser('reader', '+@all', '-unlink')).tried;
  await vi.waitUntil(() => onTried.mock.calls.length > 1, { timeout: 5_000 });
  expect(onTried).not.toHaveBeenCalledWith(true);
  expect(log.warn.mock.calls).toMatchObject([
    [{ problem: expect.stringMatching(/^NOPERM /) }, 'Redis takes no writes'],
  ]);
});

it('trusts a Redis whose access rules hide the policy, and warns', async () => {
  await watch(await urlOfUser('blind', '+@all', '-info')).tried;
  expect(onTried).toHaveBeenCalledWith(true);
  expect(log.warn.mock.calls).toMatchObject([[{ problem: expect.stringContaining('+info') }, expect.anything()]]);
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
  const watched = watchQueueRedis({ client: confirmed, keyPrefix: 'ckv', onTried, log });
  try {
    await vi.waitUntil(() => onTried.mock.calls.filter(([able]) => !able).length > 2, { timeout: 30_000 });
    const problem = '0 of 1 replicas confirmed a write within 1000 ms; add replicas, or lower CKV_CONFIRM_REPLICAS';
    expect(log.warn.mock.calls).toEqual([[{ problem }, 'Redis takes no writes']]);
    replica = await startTemporaryRedis({ args: ['--replicaof', '127.0.0.1', String(primary.port)] });
    await vi.waitUntil(() => onTried.mock.calls.filter(([able]) => able).length > 2, { timeout: 30_000 });
    expect(log.warn.mock.calls.slice(1)).toEqual([['Redis takes writes again']]);
  } finally {
    watched.close();
    closeRedis(confirmed);
    await replica?.stop();
    await primary.stop();
  }
}, 90_000);
