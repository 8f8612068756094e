import { type Interaction, partitionOf } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, connectRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { watchArrivals } from './arrivals.js';
import { inspectQueue } from './inspection.js';
import { parseInteractionJob } from './interaction-jobs.js';
import { openLeaseTable } from './lease-table.js';
import { waitingCounts } from './open-queues.js';
import { openPartitionQueue } from './partition-queue.js';
import { createInteractionProducer } from './producer.js';

let redis: PrivateRedis;
let client: RedisClient;
const partitionCount = 4;

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});
beforeEach(async () => {
  await client.flushall();
});

const interaction = (n: number, userId = 'u'): Interaction => ({
  eventId: `e${n}`,
  userId,
  itemId: `i${n}`,
  timestampMs: 1_700_000_000_000 + n,
  action: '',
  features: {},
});
const partition = partitionOf('u', partitionCount);
const produce = (maxWaitingJobs = 100) =>
  createInteractionProducer({ client, keyPrefix: 'ckv', partitionCount, maxWaitingJobs });
/** Opens the partition for a member whose lease begins now; the lease of any other member is over. */
async function consume(member = 'one') {
  await client.del('{ckv}:updaters', '{ckv}:partition-leases');
  const { terms } = await openLeaseTable(client, 'ckv', partitionCount).hold(member, 60_000);
  const term = terms.find((one) => one.partition === partition);
  if (!term) throw new Error('no lease');
  const queue = openPartitionQueue({ client, keyPrefix: 'ckv', term, token: member });
  await queue.recover();
  return queue;
}
const eventsOf = (payload: unknown) =>
  (payload as { interactions: Interaction[] }).interactions.map(({ eventId }) => eventId);

describe('the interaction queue', () => {
  it("gives a partition's jobs in the order they were queued", async () => {
    const producer = produce();
    for (let n = 0; n < 10; n++) await producer.enqueue([interaction(n)]);
    const queue = await consume();
    const jobs = await queue.take(20);
    expect(jobs.flatMap(({ payload }) => eventsOf(payload))).toEqual(Array.from({ length: 10 }, (_, n) => `e${n}`));
    await queue.complete(jobs);
    expect(await client.keys(`{ckv}:interactions-${partition}:record-*`)).toEqual([]);
    await Promise.all([queue.close(), producer.close()]);
  });

  it("splits by partition and by size, and keeps a user's order", async () => {
    const producer = produce();
    const many = Array.from({ length: 1_200 }, (_, n) => interaction(n, n % 2 ? 'u' : `other ${n}`));
    await producer.enqueue(many);
    const queue = await consume();
    const jobs = await queue.take(20);
    const own = jobs.flatMap(({ payload }) => (payload as { interactions: Interaction[] }).interactions);
    expect(own.every(({ userId }) => partitionOf(userId, partitionCount) === partition)).toBe(true);
    const ofUser = own.filter(({ userId }) => userId === 'u').map(({ itemId }) => Number(itemId.slice(1)));
    expect(ofUser).toEqual(Array.from({ length: 600 }, (_, i) => 2 * i + 1));
    await Promise.all([queue.close(), producer.close()]);
  });

  it('queues the same batch once while it waits', async () => {
    const producer = produce();
    await producer.enqueue([interaction(1)]);
    await producer.enqueue([interaction(1)]);
    expect(await waitingCounts(client, 'ckv', [partition])).toEqual([1]);
    await producer.close();
  });

  it("skips a repeated batch larger than a record's ring, even after it is done", async () => {
    const producer = produce();
    const large = Array.from({ length: 40 }, (_, n) => interaction(n));
    await producer.enqueue(large);
    const queue = await consume();
    await queue.complete(await queue.take(10));
    await producer.enqueue(large);
    expect(await waitingCounts(client, 'ckv', [partition])).toEqual([0]);
    await producer.enqueue([...large, interaction(40)]); // another batch
    expect(await waitingCounts(client, 'ckv', [partition])).toEqual([1]);
    await Promise.all([queue.close(), producer.close()]);
  });

  it('refuses interactions beyond the bound, and says when to try again', async () => {
    const producer = produce(3);
    for (let n = 0; n < 3; n++) await producer.enqueue([interaction(n)]);
    await expect(producer.enqueue([interaction(9)])).rejects.toMatchObject({
      reason: 'overloaded',
      retryAfterMs: expect.any(Number),
    });
    await producer.close();
  });

  it('gives the jobs of a dead consumer to the next one, in order, with their progress', async () => {
    const producer = produce();
    for (let n = 0; n < 5; n++) await producer.enqueue([interaction(n)]);
    const dead = await consume('dead');
    const [first, second, third] = await dead.take(3);
    if (!first || !second || !third) throw new Error('nothing taken');
    await dead.complete([first]);
    await dead.remember(second, 7);
    const next = await consume('next');
    const jobs = await next.take(10);
    expect(jobs.flatMap(({ payload }) => eventsOf(payload))).toEqual(['e1', 'e2', 'e3', 'e4']);
    expect(jobs.map(({ progress }) => progress)).toEqual([7, 0, 0, 0]);
    await expect(dead.complete([third])).rejects.toMatchObject({ reason: 'conflict' });
    await Promise.all([dead.close(), next.close(), producer.close()]);
  });

  it('sets a job aside, to be seen, retried or dropped', async () => {
    const producer = produce();
    for (let n = 0; n < 3; n++) await producer.enqueue([interaction(n)]);
    const queue = await consume();
    for (const job of await queue.take(10)) await queue.fail(job, `invalid_request: wrong ${job.id}`);
    const inspection = inspectQueue({ client, keyPrefix: 'ckv', partitionCount });
    expect((await inspection.counts())[partition]).toMatchObject({ failed: 3, waiting: 0, active: 0 });
    const failed = await inspection.failed(10);
    expect(failed[0]).toMatchObject({
      partition,
      name: 'record',
      problem: expect.stringMatching(/^invalid_request: wrong/),
    });
    expect(await inspection.drop([failed[0]?.id ?? ''])).toBe(1);
    expect(await inspection.retry()).toBe(2);
    expect((await queue.take(10)).length).toBe(2);
    expect(await inspection.retry(['no such job'])).toBe(0);
    await Promise.all([queue.close(), producer.close(), inspection.close()]);
  });

  it('sets aside a job that is not JSON, removes an id without a job, and gives the others', async () => {
    const producer = produce();
    await producer.enqueue([interaction(1)]);
    await producer.enqueue([interaction(2)]);
    const key = (id: string) => `{ckv}:interactions-${partition}:${id}`;
    const [second = ''] = await client.lrange(key('wait'), 0, 0);
    await client.hset(key(second), 'data', '{"version": 1, "x": NaN}'); // as Python writes it
    await client.set(key('ghost'), 'a string');
    await client.rpush(key('wait'), 'ghost');
    const queue = await consume();
    const jobs = await queue.take(5);
    expect(jobs.flatMap(({ payload }) => eventsOf(payload))).toEqual(['e1']);
    const inspection = inspectQueue({ client, keyPrefix: 'ckv', partitionCount });
    expect(await inspection.failed(5)).toMatchObject([
      {
        problem: expect.stringMatching(/data: is not JSON/),
        payload: { unreadable: { data: '{"version": 1, "x": NaN}' } },
      },
    ]);
    await Promise.all([queue.close(), producer.close(), inspection.close()]);
  });

  it('recovers the jobs beside an unreadable job', async () => {
    const producer = produce();
    for (let n = 0; n < 3; n++) await producer.enqueue([interaction(n)]);
    const key = (id: string) => `{ckv}:interactions-${partition}:${id}`;
    const [last = ''] = await client.lrange(key('wait'), 0, 0);
    const dead = await consume('dead');
    await dead.take(3);
    await client.hset(key(last), 'data', 'NaN');
    const next = await consume('next');
    expect((await next.take(5)).length).toBe(2);
    await Promise.all([dead.close(), next.close(), producer.close()]);
  });

  it('remembers a call after its job was set aside, a large one for another minute, then takes it again', async () => {
    const producer = produce();
    const fortyEvents = Array.from({ length: 40 }, (_, n) => interaction(n));
    const queue = await consume();
    for (const batch of [[interaction(100)], fortyEvents]) {
      await producer.enqueue(batch);
      for (const job of await queue.take(5)) await queue.fail(job, 'invalid_request: wrong');
      await producer.enqueue(batch);
      expect(await queue.take(5)).toEqual([]);
      const large = await client.keys('{ckv}:*:de:*');
      for (const memory of large) expect(await client.pttl(memory)).toBeLessThanOrEqual(60_000);
      const memories = [...large, ...(await client.keys('{ckv}:*:added-*'))];
      expect(memories.length).toBe(1);
      await client.del(...memories); // in the end
      await producer.enqueue(batch);
      expect((await queue.take(5)).map(({ payload }) => eventsOf(payload).length)).toEqual([batch.length]);
      await queue.recover();
      await queue.complete(await queue.take(5));
      await client.del(...(await client.keys('{ckv}:*:added-*')), 'none');
    }
    await Promise.all([queue.close(), producer.close()]);
  });

  it('keeps the remaining work of a job that is set aside', async () => {
    const producer = produce();
    await producer.enqueue([interaction(1), interaction(2)]);
    const queue = await consume();
    const [job] = await queue.take(1);
    if (!job) throw new Error('nothing taken');
    await queue.remember(job, 3);
    await queue.fail(job, 'bug: no', { version: 1, interactions: [interaction(2)] });
    const inspection = inspectQueue({ client, keyPrefix: 'ckv', partitionCount });
    await inspection.retry();
    const [again] = await queue.take(1);
    expect([eventsOf(again?.payload), again?.progress]).toEqual([['e2'], 0]);
    await Promise.all([queue.close(), producer.close(), inspection.close()]);
  });

  it('keeps apart events of two users with the same id', async () => {
    const producer = produce();
    const neighbour = Array.from({ length: 99 }, (_, i) => `neighbour ${i}`).find(
      (id) => partitionOf(id, partitionCount) === partition,
    );
    await producer.enqueue([interaction(1)]);
    await producer.enqueue([interaction(1, neighbour)]);
    expect(await waitingCounts(client, 'ckv', [partition])).toEqual([2]);
    await producer.close();
  });

  it('forwards accepted jobs beyond the bound', async () => {
    const producer = produce(1);
    await producer.enqueue([interaction(1)]);
    await producer.forward({ kind: 'record', interactions: [interaction(2)] }, 'job');
    expect(await waitingCounts(client, 'ckv', [partition])).toEqual([2]);
    await producer.close();
  });

  it('throws dependency_unavailable at once while Redis is away', async () => {
    const away = connectRedis('redis://127.0.0.1:1', {
      field: 'url',
      name: 'test',
      whenAway: 'fail',
      onError: () => undefined,
    });
    const producer = createInteractionProducer({ client: away, keyPrefix: 'ckv', partitionCount, maxWaitingJobs: 9 });
    await expect(producer.enqueue([interaction(1)])).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    closeRedis(away);
  });
});

it('resolves at once for a new job, and after the timeout without one', async () => {
  const own = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  const arrivals = watchArrivals(own, 'ckv');
  const producer = produce();
  let resolved = false;
  const waiting = arrivals.wait([0, 1, 2, 3], 60_000).then(() => {
    resolved = true;
  });
  await arrivals.wait([], 1); // a turn of the loop
  expect(resolved).toBe(false);
  await producer.enqueue([interaction(1)]);
  await waiting;
  await arrivals.wait([0, 1, 2, 3], 20);
  closeRedis(own);
  await arrivals.wait([0, 1, 2, 3], 20);
  await producer.close();
});

it('writes nothing while it only inspects', async () => {
  const inspection = inspectQueue({ client, keyPrefix: 'ckv', partitionCount });
  await inspection.counts();
  await inspection.failed(10);
  await inspection.close();
  expect(await client.dbsize()).toBe(0);
});

describe('parseInteractionJob', () => {
  const good = { eventId: 'e', userId: 'u', itemId: 'i', timestampMs: 1_700_000_000_000 };
  it('reads both kinds of job', () => {
    expect(parseInteractionJob('record', { version: 1, interactions: [good] })).toMatchObject({ kind: 'record' });
    expect(parseInteractionJob('forget', { version: 1, interaction: { eventId: 'e', userId: 'u' } })).toMatchObject({
      kind: 'forget',
      interaction: { itemId: '' },
    });
  });

  it.each([
    ['without data', 'record', null, 'data'],
    ['of data that is not an object', 'record', 'text', 'data'],
    ['without a version', 'record', { interactions: [good] }, 'data.version'],
    ['of a later version', 'record', { version: 2, interactions: [good] }, 'data.version'],
    ['without interactions', 'record', { version: 1 }, 'data.interactions'],
    ['of no interaction', 'record', { version: 1, interactions: [] }, 'data.interactions'],
    ['of 501 interactions', 'record', { version: 1, interactions: Array(501).fill(good) }, 'data.interactions'],
    [
      'of a numeric item id',
      'record',
      { version: 1, interactions: [good, { ...good, itemId: 3 }] },
      'data.interactions[1].itemId',
    ],
    [
      'of a feature in words',
      'record',
      { version: 1, interactions: [{ ...good, features: { x: 'much' } }] },
      'data.interactions[0].features.x',
    ],
    ['of a removal without a user', 'forget', { version: 1, interaction: { eventId: 'e' } }, 'data.interaction.userId'],
    ['of another name', 'dance', { version: 1 }, 'name'],
  ])('refuses a job %s and names the field', (_, name, payload, field) => {
    expect(() => parseInteractionJob(name, payload)).toThrow(
      expect.objectContaining({ reason: 'invalid_request', field }),
    );
  });
});
