// Limits of the store in Redis that a store in memory does not have: pages of a scan, retries of a swap, TTLs.
import { eventHash } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createRecordKeys } from './record-keys.js';
import { createRedisUserStore } from './redis-user-store.js';
import type { Append, UserEncoding, UserStore } from './user-store.js';

let redis: PrivateRedis;
let client: RedisClient;
let store: UserStore;
const keys = createRecordKeys('test');
const shape = { encodingId: '0123456789abcdef', strideBytes: 1, maxPositions: 100 };
const other = { ...shape, encodingId: 'fedcba9876543210' };
const appendOf = (userId: string, ...numbers: number[]): Append => ({
  userId,
  eventHashes: Buffer.concat(numbers.map((n) => eventHash(String(n)))),
  rows: Uint8Array.from(numbers),
  lastEventMs: 1,
});
const matchOf = (n: number) => ({
  eventHash: eventHash(String(n)),
  row: new Uint8Array(0),
  tolerance: new Uint8Array(0),
});

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  store = createRedisUserStore({ client, keyPrefix: 'test', recordTtlS: 1_000 });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});
beforeEach(async () => {
  await client.flushall();
});
afterEach(() => void vi.restoreAllMocks());

describe('stats', () => {
  it('counts records over many pages of a scan', async () => {
    const users = Array.from({ length: 1_300 }, (_, i) => `user ${i}`);
    await store.appendPositions(
      shape,
      users.map((user) => appendOf(user, 1, 2)),
    );
    const all = { recordCount: 1_300, positionCount: 2_600, lifetimeCount: 2_600, truncated: false };
    expect(await store.stats(shape.encodingId, 5_000)).toMatchObject(all);
    expect(await store.stats(shape.encodingId, 1_300)).toMatchObject({ recordCount: 1_300, truncated: false });
    const part = { recordCount: 700, positionCount: 1_400, truncated: true };
    expect(await store.stats(shape.encodingId, 700)).toMatchObject(part);
  });

  it("counts neither other prefixes' records, nor keys of other kinds, nor unreadable records", async () => {
    const odd = createRedisUserStore({ client, keyPrefix: 't*t', recordTtlS: 1_000 });
    await store.appendPositions(shape, [appendOf('u', 1)]);
    await odd.appendPositions(shape, [appendOf('u', 1)]);
    await client.set(keys.record('short', shape.encodingId), 'x'.repeat(29));
    await client.set(keys.unreadable('u', shape.encodingId), 'x'.repeat(99));
    expect(await odd.stats('', 10)).toMatchObject({ recordCount: 1 });
    const { memoryBytes, ledgerBytes, encodings, ...counts } = await store.stats('', 10);
    expect(counts).toEqual({ recordCount: 1, positionCount: 1, lifetimeCount: 1, truncated: false });
    expect(encodings).toMatchObject([{ encodingId: shape.encodingId, recordCount: 1, memoryBytes, ledgerBytes }]);
    expect(memoryBytes).toBe(await client.memory('USAGE', keys.record('u', shape.encodingId), 'SAMPLES', 0));
  });

  it('stops when its caller gives up', async () => {
    await store.appendPositions(shape, [appendOf('u', 1)]);
    const reads = vi.spyOn(client as never, 'scan');
    await expect(store.stats('', 10, AbortSignal.abort())).rejects.toThrow();
    expect(reads).not.toHaveBeenCalled();
  });
});

describe('replaceRecord', () => {
  it('gives the record its TTL, and its encoding to deleteUser', async () => {
    await store.replaceRecord(shape.encodingId, 'u', Buffer.from('bytes'));
    const ttlS = await client.ttl(keys.record('u', shape.encodingId));
    expect(ttlS).toBeGreaterThan(900);
    expect(ttlS).toBeLessThanOrEqual(1_000);
    expect(await store.deleteUser('u')).toMatchObject([{ encodingId: shape.encodingId }]);
  });
});

describe('deleteUser', () => {
  const plant = async () => {
    await store.appendPositions(shape, [appendOf('u', 1)]);
    await client.set(keys.unreadable('u', shape.encodingId), 'broken');
    await client.hset(keys.unreadable('u', other.encodingId), 'of another', 'type');
    await client.sadd(keys.encodings, other.encodingId);
  };
  const byId = (found: readonly UserEncoding[]) => new Map(found.map((one) => [one.encodingId, one]));

  it('deletes unreadable records too, of any type', async () => {
    await plant();
    const deleted = byId(await store.deleteUser('u'));
    expect(deleted.get(shape.encodingId)).toMatchObject({ record: true, unreadable: true, positionCount: 1 });
    expect(deleted.get(other.encodingId)).toMatchObject({ record: false, unreadable: true, positionCount: 0 });
    expect(await client.keys('test:{u}*')).toEqual([]);
  });

  it('deletes unreadable records alone', async () => {
    await plant();
    expect(byId(await store.deleteUser('u', { keepRecords: true })).get(shape.encodingId)).toMatchObject({
      record: true,
      unreadable: true,
    });
    expect(await client.keys('test:{u}*')).toEqual([keys.record('u', shape.encodingId)]);
  });

  it('finds the records of named encodings, even if the list of encodings is lost', async () => {
    await plant();
    await client.del(keys.encodings);
    expect(await store.deleteUser('u')).toEqual([]);
    const encodingIds = [shape.encodingId, other.encodingId];
    expect((await store.deleteUser('u', { encodingIds })).length).toBe(2);
    expect(await client.keys('*')).toEqual([]);
  });

  it('finds the records of bundles, which were written before records were bound to encodings', async () => {
    const bundleId = 'feedfacefeedface';
    await client.set(keys.record('u', bundleId), 'record');
    await client.sadd('test:bundles', bundleId);
    expect(await store.deleteUser('u')).toMatchObject([{ encodingId: bundleId, record: true }]);
    expect(await client.exists(keys.record('u', bundleId))).toBe(0);
  });

  it('counts a record once for two encodings whose ids begin alike', async () => {
    await plant();
    const alike = `${shape.encodingId.slice(0, 8)}ffffffff`;
    const deleted = await store.deleteUser('u', { encodingIds: [alike] });
    expect(deleted.filter(({ record }) => record).length).toBe(1);
  });

  it('deletes the records of more encodings than fit one call', async () => {
    const encodingIds = Array.from({ length: 1_001 }, (_, i) => i.toString(16).padStart(8, '0').padEnd(16, '0'));
    await Promise.all(encodingIds.map((id) => client.set(keys.record('u', id), 'record')));
    expect((await store.deleteUser('u', { encodingIds })).map(({ encodingId }) => encodingId)).toEqual(encodingIds);
    expect(await client.keys('*')).toEqual([]);
  });
});

describe('deletePosition', () => {
  /** Lets another writer append a position after each of the store's first `count` reads. */
  function interfere(count: number): void {
    let left = count;
    const read = client.getBuffer.bind(client);
    vi.spyOn(client, 'getBuffer').mockImplementation(async (key) => {
      const bytes = await read(key);
      if (left-- > 0) await store.appendPositions(shape, [appendOf('u', 100 + left)]);
      return bytes;
    });
  }

  it('tries again while other writers change the record, five times in all', async () => {
    await store.appendPositions(shape, [appendOf('u', 1, 2)]);
    interfere(4);
    expect(await store.deletePosition(shape.encodingId, 'u', matchOf(1))).toMatchObject({
      deleted: true,
      positionCount: 5,
    });
  });

  it('gives up with a conflict after five tries', async () => {
    await store.appendPositions(shape, [appendOf('u', 1, 2)]);
    interfere(5);
    await expect(store.deletePosition(shape.encodingId, 'u', matchOf(1))).rejects.toMatchObject({ reason: 'conflict' });
  });

  it('keeps the TTL of the record', async () => {
    await store.appendPositions(shape, [appendOf('u', 1, 2)]);
    await client.expire(keys.record('u', shape.encodingId), 500);
    await store.deletePosition(shape.encodingId, 'u', matchOf(1));
    expect(await client.ttl(keys.record('u', shape.encodingId))).toBeGreaterThan(400);
  });

  it('deletes a key of another type, which is no record', async () => {
    await client.lpush(keys.record('u', shape.encodingId), 'a list');
    expect(await store.deletePosition(shape.encodingId, 'u', matchOf(1))).toMatchObject({ unreadable: true });
    expect(await client.exists(keys.record('u', shape.encodingId))).toBe(0);
  });
});

describe('appendPositions', () => {
  it('names the append at fault among many', async () => {
    const bad = { ...appendOf('v', 1), eventHashes: new Uint8Array(5) };
    await expect(store.appendPositions(shape, [appendOf('u', 1), bad])).rejects.toMatchObject({
      field: 'appends[1].event_hashes',
    });
  });

  it("names the field of another encoding's record", async () => {
    await store.appendPositions(shape, [appendOf('u', 1)]);
    const clash = { ...shape, encodingId: '01234567ffffffff' }; // the same key
    await expect(store.appendPositions(clash, [appendOf('u', 2)])).rejects.toMatchObject({
      reason: 'encoding_mismatch',
      field: 'encoding_id',
    });
  });

  it('keeps an unreadable record for 7 days', async () => {
    await client.set(keys.record('u', shape.encodingId), 'broken');
    await store.appendPositions(shape, [appendOf('u', 1)]);
    const ttlS = await client.ttl(keys.unreadable('u', shape.encodingId));
    expect(ttlS).toBeGreaterThan(7 * 24 * 3_600 - 100);
    expect(ttlS).toBeLessThanOrEqual(7 * 24 * 3_600);
  });

  it('appends nothing for no users', async () => {
    expect(await store.appendPositions(shape, [])).toEqual([]);
  });
});

it.each(['x', '0', '-1', '0-', '0-x'])('refuses a cursor of no answer: %s', async (cursor) => {
  await expect(store.dropRecords(shape.encodingId, cursor)).rejects.toMatchObject({ field: 'cursor' });
});
