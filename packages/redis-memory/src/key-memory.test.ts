import { type PrivateRedis, startTemporaryRedis, storedBytes } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  hashFieldBytes,
  keyMemory,
  listEntryBytes,
  type RedisValue,
  streamEntryBytes,
  tableBytes,
} from './key-memory.js';

const KEYS = 3_000;
const AT_ONCE = 500;
const KEY_LENGTH = 51;

let redis: PrivateRedis;
let client: RedisClient;
beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'wait' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});
beforeEach(async () => {
  await client.flushall('SYNC');
});

const keyOf = (i: number) => String(i).padEnd(KEY_LENGTH, 'k');
const hashOf = (fields: Readonly<Record<string, string>>): RedisValue => ({
  kind: 'hash',
  fields: Object.entries(fields).map(([name, value]) => ({ nameLength: name.length, valueLength: value.length })),
});
const SMALL = { state: 'done', tries: '1' };
const LARGE = { state: 'done', report: 'x'.repeat(156) };
const GROWN = { ...LARGE, kind: 'delete', check: 'ab', tries: '1', doneAtMs: '1700000000000' };

it.each<[string, RedisValue, (key: string) => Promise<unknown>, boolean]>([
  ['a short text', { kind: 'string', length: 31 }, (key) => client.set(key, 'x'.repeat(31)), false],
  ['a longer text', { kind: 'string', length: 100 }, (key) => client.set(key, 'x'.repeat(100)), false],
  ['a text that expires', { kind: 'string', length: 400 }, (key) => client.set(key, 'x'.repeat(400), 'EX', 900), true],
  ['a small hash', hashOf(SMALL), (key) => client.hset(key, SMALL), false],
  ['a hash with a long value', hashOf(LARGE), (key) => client.hset(key, LARGE), false],
  ['a hash that has grown', hashOf(GROWN), (key) => client.hset(key, GROWN), false],
])('predicts %s, alone and by MEMORY USAGE', async (_, value, put, expires) => {
  const memory = keyMemory({ keyLength: KEY_LENGTH, value, expires });
  await warmUp(put);
  const before = await storedBytes(client);
  await each(put);
  const used = (await storedBytes(client)) - before - (expires ? 2 : 1) * tableBytes(KEYS);
  expectNear(used / KEYS, memory.usedBytes);
  expectNear(Number(await client.memory('USAGE', keyOf(0), 'SAMPLES', 0)), memory.usageBytes);
});

it('predicts a text in a long list', async () => {
  const push = (text: string) => client.lpush('list', text);
  await warmUp(push);
  const before = await storedBytes(client);
  await each(push);
  expectNear(((await storedBytes(client)) - before) / KEYS, listEntryBytes(KEY_LENGTH));
});

it('predicts a field of a long hash', async () => {
  const put = (name: string) => client.hset('hash', name, '');
  await warmUp(put);
  const before = await storedBytes(client);
  await each(put);
  const used = (await storedBytes(client)) - before;
  expectNear(used / KEYS, hashFieldBytes({ nameLength: KEY_LENGTH, valueLength: 0 }));
});

it.each([
  ['short', 30],
  ['long', 300],
])('predicts an entry with %s values in a long stream', async (_, length) => {
  const value = 'v'.repeat(length);
  const log = (user: string) => client.xadd('stream', '*', 'user', user, 'event', user, 'rest', value);
  await warmUp(log);
  const before = await storedBytes(client);
  await each(log);
  expectNear(((await storedBytes(client)) - before) / KEYS, streamEntryBytes([KEY_LENGTH, KEY_LENGTH, length]));
});

/** Makes the server grow its buffers, so that only keys count afterwards. */
async function warmUp(put: (key: string) => Promise<unknown>): Promise<void> {
  await each(put);
  await client.flushall('SYNC');
}

async function each(put: (key: string) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < KEYS; from += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => put(keyOf(from + i))));
  }
}

function expectNear(actual: number, predicted: number): void {
  const off = actual / predicted - 1;
  expect(Math.abs(off), `${actual} bytes, predicted ${predicted}: ${(100 * off).toFixed(1)} %`).toBeLessThan(0.05);
}
