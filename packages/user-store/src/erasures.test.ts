import { eventHash } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { watchErasures } from './erasures.js';
import { createRedisUserStore } from './redis-user-store.js';
import type { UserStore } from './user-store.js';

let redis: PrivateRedis;
const clients: RedisClient[] = [];
let store: UserStore;
/** What the watch reported, in order: `begun`, `u erased`, `refused`. */
let heard: string[];

const connect = async (user = '') => {
  const url = redis.url.replace('://', `://${user}`);
  const client = await connectedRedis(url, { field: 'url', name: 'test', whenAway: 'fail' });
  client.on('error', () => undefined);
  clients.push(client);
  return client;
};
const watch = (client: RedisClient) =>
  watchErasures({
    client,
    keyPrefix: 'test',
    onErased: (userId) => heard.push(`${userId} erased`),
    onBegun: () => heard.push('begun'),
    onRefused: () => heard.push('refused'),
  });
const shape = { encodingId: '0123456789abcdef', strideBytes: 1, maxPositions: 9 };
const match = { eventHash: eventHash('e'), row: new Uint8Array(0), tolerance: new Uint8Array(0) };

beforeAll(async () => {
  redis = await startTemporaryRedis();
  store = createRedisUserStore({ client: await connect(), keyPrefix: 'test', recordTtlS: 600 });
});
afterAll(async () => {
  for (const client of clients) closeRedis(client);
  await redis?.stop();
});
beforeEach(() => {
  heard = [];
});
afterEach(() => {
  for (const client of clients.splice(1)) closeRedis(client); // the first is the store's
});

it('hears of deleted users and positions, and begins again after its connection broke', async () => {
  watch(await connect());
  await expect.poll(() => heard).toEqual(['begun']);
  for (const userId of ['u', 'ü {1}']) {
    const append = { userId, eventHashes: eventHash('e'), rows: Uint8Array.of(7), lastEventMs: 1 };
    await store.appendPositions(shape, [append]);
  }
  await store.deletePosition(shape.encodingId, 'u', match);
  await store.deletePosition(shape.encodingId, 'u', match); // deletes nothing
  await store.deleteUser('u', { keepRecords: true }); // deletes no record
  await store.deleteUser('ü {1}');
  await expect.poll(() => heard).toEqual(['begun', 'u erased', 'ü {1} erased']);

  await clients[0]?.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await expect.poll(() => heard.length, { timeout: 10_000 }).toBe(4);
  await store.deleteUser('v');
  await expect.poll(() => heard.slice(3)).toEqual(['begun', 'v erased']);
});

it('leaves a server that hangs without closing its connections', async () => {
  const watching = await connect();
  watch(watching);
  await expect.poll(() => heard).toEqual(['begun']);
  const closed = new Promise((resolve) => watching.once('close', resolve));
  process.kill(redis.pid, 'SIGSTOP');
  try {
    await closed;
  } finally {
    process.kill(redis.pid, 'SIGCONT');
  }
  await expect.poll(() => heard, { timeout: 20_000 }).toEqual(['begun', 'begun']);
}, 60_000);

it('does not call it a refusal that its connection broke before the answer', async () => {
  const watching = await connect();
  process.kill(redis.pid, 'SIGSTOP');
  watch(watching);
  const closed = new Promise((resolve) => watching.once('close', resolve));
  watching.disconnect(true);
  await closed;
  process.kill(redis.pid, 'SIGCONT');
  await expect.poll(() => heard, { timeout: 20_000 }).toEqual(['begun']);
}, 60_000);

it('says that Redis refuses the watch', async () => {
  await clients[0]?.call('ACL', 'SETUSER', 'deaf', 'reset', 'on', '>secret', '~*', '+info', '+client|setname');
  watch(await connect('deaf:secret@'));
  await expect.poll(() => heard).toEqual(['refused']);
});
