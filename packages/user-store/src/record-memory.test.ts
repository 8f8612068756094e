// The ledger of records against a real Redis: predicted bytes and those that Redis counts, on one server and a cluster.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeRecord, eventHash } from '@collectivekv/domain';
import { startPrivateCluster, startPrivateRedis, storedBytes } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, primariesOf, type RedisClient } from '@collectivekv/redis-connection';
import { tableBytes } from '@collectivekv/redis-memory';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRecordKeys } from './record-keys.js';
import { type RecordMemory, recordBytes, recordMemory } from './record-memory.js';
import { createRedisUserStore } from './redis-user-store.js';
import type { UserStore } from './user-store.js';

const KEY_PREFIX = 'ckv';
const ENCODING = '0123456789abcdef';
const WAVE = 14;
/** Enough bytes for buffers and tables of the server itself to weigh little. */
const FILL_BYTES = 2_000_000;
const USERS_AT_ONCE = 200;
const keys = createRecordKeys(KEY_PREFIX);

describe.each([
  ['one server', 1],
  ['a cluster', 3],
])('on %s', (_, nodeCount) => {
  const dir = mkdtempSync(join(tmpdir(), 'ckv-record-memory-'));
  const cluster = nodeCount > 1;
  let server: { readonly url: string; stop(): Promise<void> };
  let client: RedisClient;
  let store: UserStore;

  beforeAll(async () => {
    const options = { dir: join(dir, 'server'), dataDir: dir };
    server = cluster ? await startPrivateCluster({ ...options, nodeCount }) : await startPrivateRedis(options);
    client = await connectedRedis(server.url, { field: 'url', name: 'test', whenAway: 'wait' }, 20_000);
    store = createRedisUserStore({ client, keyPrefix: KEY_PREFIX, recordTtlS: 1_000 });
    await fill(20, { positionCount: 20, strideBytes: 3, idBytes: 9 }); // loads the scripts
  });
  afterAll(async () => {
    closeRedis(client);
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it.each([
    [14, 3, 9],
    [100, 3, 9],
    [1_154, 3, 9], // the last length within its size of jemalloc, 3,584 bytes
    [1_155, 3, 9], // the first beyond it, 4,096 bytes
    [2_000, 3, 36],
    [1_000, 5, 16],
    [22_000, 3, 12], // beyond 64 KiB
    [60, 2_048, 9],
  ])('predicts records of %i rows of %i bytes, ids of %i bytes', async (positionCount, strideBytes, idBytes) => {
    const predicted = recordMemory({
      keyPrefix: KEY_PREFIX,
      userIdBytes: idBytes,
      strideBytes,
      positionCount,
      cluster,
    });
    const userCount = Math.ceil(FILL_BYTES / predicted.usedBytes);
    await Promise.all(primariesOf(client).map((primary) => primary.flushall('SYNC')));
    const before = await usedBytes();
    const users = await fill(userCount, { positionCount, strideBytes, idBytes });
    const [bytes] = await store.getRecords(ENCODING, [users[0] ?? '']);
    expect(bytes).toHaveLength(recordBytes({ strideBytes, positionCount }));
    expectNear(await usageBytes(users), userCount * predicted.usageBytes);
    const tables = 2 * nodeCount * tableBytes(userCount / nodeCount);
    // Redis may still hold what it needed for the writes, such as buffers of its append-only file.
    const wanted = userCount * predicted.usedBytes + tables;
    const off = async () => Math.abs(((await usedBytes()) - before) / wanted - 1);
    await expect.poll(off, { timeout: 20_000 }).toBeLessThan(0.05);
  });

  async function fill(
    userCount: number,
    { positionCount, strideBytes, idBytes }: { positionCount: number; strideBytes: number; idBytes: number },
  ): Promise<string[]> {
    const users = Array.from({ length: userCount }, (_, i) => String(i).padStart(idBytes, 'u'));
    const first = positionCount - WAVE;
    const record = encodeRecord({
      encodingId: ENCODING,
      strideBytes,
      lifetimeCount: first,
      lastEventMs: 1,
      recentEvents: Buffer.concat(Array.from({ length: Math.min(WAVE, first) }, (_, i) => eventHash(`old${i}`))),
      rows: new Uint8Array(first * strideBytes).fill(7),
    });
    const eventHashes = Buffer.concat(Array.from({ length: WAVE }, (_, i) => eventHash(`new${i}`)));
    const rows = new Uint8Array(WAVE * strideBytes).fill(9);
    const appends = users.map((userId) => ({ userId, eventHashes, rows, lastEventMs: 2 }));
    const shape = { encodingId: ENCODING, strideBytes, maxPositions: positionCount };
    for (let from = 0; from < users.length; from += USERS_AT_ONCE) {
      const together = appends.slice(from, from + USERS_AT_ONCE);
      if (first > 0) await Promise.all(together.map(({ userId }) => store.replaceRecord(ENCODING, userId, record)));
      await store.appendPositions(shape, together);
    }
    return users;
  }

  async function usageBytes(users: readonly string[]): Promise<number> {
    const usages = users.map((userId) => client.memory('USAGE', keys.record(userId, ENCODING), 'SAMPLES', 0));
    return (await Promise.all(usages)).reduce<number>((sum, bytes) => sum + Number(bytes), 0);
  }

  /** Returns the memory of all primaries without their buffers. */
  async function usedBytes(): Promise<number> {
    return (await Promise.all(primariesOf(client).map(storedBytes))).reduce((sum, bytes) => sum + bytes, 0);
  }
});

function expectNear(actual: number, predicted: number): void {
  const off = actual / predicted - 1;
  expect(Math.abs(off), `${actual} bytes, predicted ${predicted}: off by ${(100 * off).toFixed(1)} %`).toBeLessThan(
    0.05,
  );
}

it('counts a record without a full ring', () => {
  const memory = (positionCount: number): RecordMemory =>
    recordMemory({ keyPrefix: KEY_PREFIX, userIdBytes: 9, strideBytes: 3, positionCount });
  expect(memory(1).valueBytes).toBe(30 + 6 + 3);
  expect(memory(13).valueBytes).toBe(30 + 13 * 9);
  expect(memory(15).valueBytes).toBe(30 + 84 + 45);
});
