import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeRecord, encodeRecord, eventHash, RECENT_EVENT_RING } from '@collectivekv/domain';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, isConnected, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { connectAsWriter, expectReadAccess, expectWriteAccess } from './record-access.contract.js';
import { createRecordKeys } from './record-keys.js';
import { redisNowMs } from './redis-now.contract.js';
import { createRedisUserStore } from './redis-user-store.js';
import { describeUserStore } from './user-store.contract.js';
import type { UserStore } from './user-store.js';

let dir: string;
let redis: PrivateRedis;
let client: RedisClient;
let store: UserStore;
/** A connection of the user that docs/configuration.md gives to the user-cache. */
let writer: RedisClient;
const keys = createRecordKeys('test');
const encodingId = '0123456789abcdef';

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-user-store-'));
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  writer = await connectAsWriter(client, redis.url, 'test');
  store = createRedisUserStore({ client: writer, keyPrefix: 'test', recordTtlS: 1_000 });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  await client.flushall();
});

describeUserStore('user store in Redis', {
  store: () => store,
  plant: async (userId, id, bytes) => {
    await client.set(keys.record(userId, id), Buffer.from(bytes));
    await client.sadd(keys.encodings, id);
  },
  nowMs: () => redisNowMs(client),
});

it('needs no other right than its user has, and the user has no other', async () => {
  await expectWriteAccess(client, writer);
  closeRedis(writer);
  store = createRedisUserStore({ client, keyPrefix: 'test', recordTtlS: 1_000 }); // the user ends with its server
});

describe('user store in Redis', () => {
  const shape = { encodingId, strideBytes: 5, maxPositions: 1_000 };
  const one = { userId: 'u', eventHashes: eventHash('e'), rows: new Uint8Array(5), lastEventMs: 1 };

  it('sets the TTL with every append, even if the append changes nothing', async () => {
    await store.appendPositions(shape, [one]);
    const key = keys.record('u', encodingId);
    await client.expire(key, 10);
    await store.appendPositions(shape, [one]);
    expect(await client.ttl(key)).toBeGreaterThan(900);
  });

  it('keeps an unreadable record under a key of its own, with a TTL', async () => {
    await client.set(keys.record('u', encodingId), 'broken');
    await store.appendPositions(shape, [one]);
    expect(await client.get(keys.unreadable('u', encodingId))).toBe('broken');
    expect(await client.ttl(keys.unreadable('u', encodingId))).toBeGreaterThan(0);
  });

  it('treats a key of another type as an unreadable record, without harm to others', async () => {
    await store.appendPositions(shape, [{ ...one, userId: 'v' }]);
    await client.lpush(keys.record('u', encodingId), 'what', 'is', 'this');
    const [odd, fine] = await store.getRecords(encodingId, ['u', 'v']);
    expect(() => decodeRecord(odd ?? new Uint8Array(0), shape)).toThrow(/record is truncated/);
    expect(decodeRecord(fine ?? new Uint8Array(0), shape).positionCount).toBe(1);
    expect((await store.stats(encodingId, 10)).recordCount).toBe(1);
    expect(await store.appendPositions(shape, [one])).toMatchObject([{ appliedCount: 1, unreadable: true }]);
  });

  it('spends at most 0.8% of the full KV cache on a full history, key and header included', async () => {
    const rows = new Uint8Array(1_000 * 5).fill(1);
    const recentEvents = new Uint8Array(RECENT_EVENT_RING * 6).fill(1);
    const record = encodeRecord({ encodingId, strideBytes: 5, lifetimeCount: 1, lastEventMs: 1, recentEvents, rows });
    await store.replaceRecord(encodingId, 'user-0123456789', record);
    const { memoryBytes, ledgerBytes, positionCount } = await store.stats(encodingId, 10);
    expect(Math.abs(ledgerBytes / memoryBytes - 1)).toBeLessThan(0.05);
    expect(positionCount).toBe(1_000);
    expect(memoryBytes / (1_000 * 2 * 256 * 4)).toBeLessThanOrEqual(0.008);
    expect(memoryBytes).toBeLessThan(5_300); // the 5,120-byte class of the allocator, and the key
  });

  it('lets the Redis user of docs/configuration.md read records and do nothing else', async () => {
    closeRedis(await expectReadAccess(client, redis.url));
  });

  it('gives up a Redis that hangs: waiting calls fail, later ones fail at once, until Redis goes on', async () => {
    await store.appendPositions(shape, [one]);
    const away = { reason: 'dependency_unavailable' };
    process.kill(redis.pid, 'SIGSTOP');
    try {
      const waiting = Array.from({ length: 100 }, () => store.getRecords(encodingId, ['u']));
      const outcomes = await Promise.allSettled(waiting);
      expect(outcomes).toEqual(outcomes.map(() => ({ status: 'rejected', reason: expect.objectContaining(away) })));
      expect(isConnected(client)).toBe(false);
      await expect(store.getRecords(encodingId, ['u'])).rejects.toMatchObject(away);
    } finally {
      process.kill(redis.pid, 'SIGCONT');
    }
    await vi.waitUntil(() => isConnected(client), { timeout: 10_000 });
    expect(await store.getRecords(encodingId, ['u'])).toEqual([expect.any(Uint8Array)]);
  });

  it('throws dependency_unavailable at once while Redis is away, and works again when it is back', async () => {
    await store.appendPositions(shape, [one]);
    const { url } = redis;
    await redis.kill();
    await expect(store.getRecords(encodingId, ['u'])).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    await expect(store.appendPositions(shape, [one])).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    redis = await startPrivateRedis({
      dir: join(dir, 'server'),
      dataDir: join(dir, 'redis'),
      port: Number(new URL(url).port),
    });
    await vi.waitUntil(() => isConnected(client), { timeout: 10_000 });
    await store.appendPositions(shape, [{ ...one, eventHashes: eventHash('f') }]);
  });
});
