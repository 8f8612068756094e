import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, primariesOf, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { createRecordKeys } from './record-keys.js';
import { createRedisRecordReader, type RecordReader } from './redis-record-reader.js';

const ENCODING_ID = '0123456789abcdef';
let redis: PrivateRedis;
let client: RedisClient;

let reader: RecordReader;

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  reader = createRedisRecordReader({ client, keyPrefix: 'test' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});
afterEach(() => void vi.restoreAllMocks());

/** The connection to the server. */
function connection() {
  const [server] = primariesOf(client);
  if (!server) throw new Error('there is no connection');
  return server.stream;
}

it('sends the reads of one turn of the event loop in one write', async () => {
  await client.set(createRecordKeys('test').record('b', ENCODING_ID), 'record of b');
  const writes = vi.spyOn(connection(), '_writev');
  const records = await Promise.all(['a', 'b', 'c'].map((userId) => reader.getRecords(ENCODING_ID, [userId])));
  expect(records).toEqual([[undefined], [Buffer.from('record of b')], [undefined]]);
  expect(writes.mock.calls.map(([chunks]) => chunks.length)).toEqual([3]);
  expect(connection().writableCorked).toBe(0);
});

it('fails the reads of a turn in which the connection is lost, and reads again on the next one', async () => {
  const lost = reader.getRecords(ENCODING_ID, ['a']);
  connection().destroy();
  await expect(lost).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  await vi.waitUntil(() => client.status === 'ready', { timeout: 10_000 });
  expect(await reader.getRecords(ENCODING_ID, ['a'])).toEqual([undefined]);
});
