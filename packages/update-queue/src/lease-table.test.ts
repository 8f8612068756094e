// Leases and terms in Redis, and the refusals of the queue's scripts after a term is over.
import { type Interaction, partitionOf } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inspectQueue } from './inspection.js';
import { type LeaseTable, openLeaseTable, type PartitionTerm } from './lease-table.js';
import { openPartitionQueue, type PartitionQueue, type TakenJob } from './partition-queue.js';
import { createInteractionProducer, type InteractionProducer } from './producer.js';
import { leaseKeys, partitionQueueName, queuePrefix } from './queue-names.js';

const PARTITION_COUNT = 4;
const LONG_MS = 60_000;
const keys = leaseKeys('ckv');

let redis: PrivateRedis;
let client: RedisClient;
let table: LeaseTable;

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  table = openLeaseTable(client, 'ckv', PARTITION_COUNT);
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});
beforeEach(async () => {
  await client.flushall();
});

const termsOf = ({ terms }: { terms: readonly PartitionTerm[] }) =>
  Object.fromEntries(terms.map(({ partition, term }) => [partition, term]));
const endLease = (partition: number, member: string) => client.hset(keys.leases, String(partition), `${member} 1`);

describe('the table of leases', () => {
  it('stores a lease as its member and the Unix ms of its end, as older updaters do', async () => {
    const { endsMs } = await table.hold('one', LONG_MS);
    expect(await client.hgetall('{ckv}:partition-leases')).toEqual(
      Object.fromEntries([0, 1, 2, 3].map((partition) => [partition, `one ${endsMs}`])),
    );
    expect(await client.zscore('{ckv}:updaters', 'one')).toBe(String(endsMs));
  });

  it('counts from the first acquisition, and keeps a term while it is renewed', async () => {
    expect(termsOf(await table.hold('one', LONG_MS))).toEqual({ 0: 1, 1: 1, 2: 1, 3: 1 });
    expect(termsOf(await table.hold('one', LONG_MS))).toEqual({ 0: 1, 1: 1, 2: 1, 3: 1 });
  });

  it('begins a new term for a lease that ended, was released or was taken by another member', async () => {
    const { endsMs } = await table.hold('one', LONG_MS);
    await endLease(0, 'one');
    await table.release('one', [1], endsMs);
    await client.hset(keys.leases, '2', 'two 1');
    expect(termsOf(await table.hold('one', LONG_MS))).toEqual({ 0: 2, 1: 2, 2: 2, 3: 1 });
  });

  it("ends the leases of a dead member within a lease's length although Redis's clock went back by a day", async () => {
    await table.hold('dead', LONG_MS);
    const tomorrowMs = Date.now() + 86_400_000;
    await client.zadd(keys.members, tomorrowMs, 'dead');
    for (const partition of ['0', '1', '2', '3']) await client.hset(keys.leases, partition, `dead ${tomorrowMs}`);
    expect(await table.hold('one', 300)).toMatchObject({ terms: [], share: 2 });
    await expect.poll(() => table.hold('one', 300), { timeout: 10_000 }).toMatchObject({ share: 4 });
    expect(termsOf(await table.hold('one', 300))).toEqual({ 0: 2, 1: 2, 2: 2, 3: 2 });
  });

  it('begins a new term for a partition whose lease an older updater kept without terms', async () => {
    await client.hset(keys.leases, '0', 'one 9999999999999');
    expect(termsOf(await table.hold('one', LONG_MS))[0]).toBe(1);
  });

  it('takes a partition whose lease cannot be read', async () => {
    await client.hset(keys.leases, '0', 'garbage');
    expect(termsOf(await table.hold('one', LONG_MS))[0]).toBe(1);
  });

  it('releases only leases of the member itself', async () => {
    const { endsMs } = await table.hold('one', LONG_MS);
    await table.release('two', [0, 1], endsMs);
    expect(Object.keys(await client.hgetall(keys.leases))).toEqual(['0', '1', '2', '3']);
    await table.release('one', [0, 1], endsMs);
    expect(Object.keys(await client.hgetall(keys.leases))).toEqual(['2', '3']);
    expect(await client.zcard(keys.members)).toBe(1);
    await table.leave('one', [2]);
    expect(Object.keys(await client.hgetall(keys.leases))).toEqual(['3']);
    expect(await client.zcard(keys.members)).toBe(0);
  });
});

it('does not give a lease back that was renewed since: the release came late', async () => {
  const { endsMs } = await table.hold('one', LONG_MS);
  const renewed = await table.hold('one', LONG_MS + 1);
  await table.release('one', [0, 1], endsMs);
  expect(Object.keys(await client.hgetall(keys.leases))).toEqual(['0', '1', '2', '3']);
  await table.release('one', [0, 1], renewed.endsMs);
  expect(Object.keys(await client.hgetall(keys.leases))).toEqual(['2', '3']);
});

describe('a consumer', () => {
  const interaction = (n: number): Interaction => ({
    eventId: `e${n}`,
    userId: 'u',
    itemId: `i${n}`,
    timestampMs: 1_700_000_000_000 + n,
    action: '',
    features: {},
  });
  const partition = partitionOf('u', PARTITION_COUNT);
  const key = (name: string) => `${queuePrefix('ckv')}:${partitionQueueName(partition)}:${name}`;
  let producer: InteractionProducer;
  let queue: PartitionQueue;
  let taken: TakenJob;

  async function open(member: string, token = member): Promise<PartitionQueue> {
    const { terms } = await table.hold(member, LONG_MS);
    const term = terms.find((one) => one.partition === partition);
    if (!term) throw new Error('no lease');
    const opened = openPartitionQueue({ client, keyPrefix: 'ckv', term, token });
    await opened.recover();
    return opened;
  }

  beforeEach(async () => {
    producer = createInteractionProducer({
      client,
      keyPrefix: 'ckv',
      partitionCount: PARTITION_COUNT,
      maxWaitingJobs: 9,
    });
    for (let n = 0; n < 3; n++) await producer.enqueue([interaction(n)]);
    queue = await open('one');
    const [job] = await queue.take(1);
    if (!job) throw new Error('nothing taken');
    taken = job;
  });

  afterEach(() => Promise.all([queue.close(), producer.close()]));

  /** Everything in Redis but the leases. */
  async function contents(): Promise<Record<string, unknown>> {
    const found: Record<string, unknown> = {};
    for (const name of (await client.keys('*:interactions-*')).sort()) {
      // The order of a hash's fields means nothing. A dump is lossy as text, but a change still shows.
      found[name] = (await client.type(name)) === 'hash' ? await client.hgetall(name) : await client.dump(name);
    }
    return found;
  }

  const over: [string, () => Promise<unknown>][] = [
    ['ended', () => endLease(partition, 'one')],
    ['is gone', () => client.hdel(keys.leases, String(partition))],
    ['is of another member', () => client.hset(keys.leases, String(partition), 'two 9999999999999')],
    ['is of a later term', () => client.hincrby(keys.terms, String(partition), 1)],
    ['has no term in Redis', () => client.hdel(keys.terms, String(partition))],
  ];
  const writes: [string, () => Promise<unknown>][] = [
    ['take jobs', () => queue.take(5)],
    ['complete a job', () => queue.complete([taken])],
    ['set a job aside', () => queue.fail(taken, 'invalid_request: wrong', { version: 1 })],
    ['remember progress', () => queue.remember(taken, 7)],
    ['put jobs back', () => queue.recover()],
  ];
  const cases = over.flatMap(([how, end]) => writes.map(([what, write]) => ({ how, end, what, write })));

  it.each(cases)('whose lease $how can not $what', async ({ end, write }) => {
    await end();
    const before = await contents();
    await expect(write()).rejects.toMatchObject({
      reason: 'conflict',
      message: expect.stringContaining(`partition ${partition}`),
    });
    expect(await contents()).toEqual(before);
  });

  it.each(writes)('that holds its lease can %s', async (_, write) => {
    const before = await contents();
    await write();
    expect(await contents()).not.toEqual(before);
  });

  it('whose lease ends while it reads unreadable jobs leaves them alone', async () => {
    const [id = ''] = await client.lrange(key('wait'), -1, -1);
    await client.hset(key(id), 'data', 'NaN');
    const { type } = client;
    client.type = (async (name: string) => {
      await endLease(partition, 'one');
      return type.call(client, name);
    }) as typeof type;
    await expect(queue.take(1)).rejects.toMatchObject({ reason: 'conflict' });
    client.type = type;
    expect(await client.lrange(key('active'), 0, -1)).toContain(id);
    expect(await client.hget(key(id), 'data')).toBe('NaN');
  });

  it('cannot put back the jobs that the next holder took', async () => {
    await table.leave('one', [0, 1, 2, 3]);
    const next = await open('two');
    const jobs = await next.take(5);
    expect(jobs.length).toBe(3);
    await expect(queue.recover()).rejects.toMatchObject({ reason: 'conflict' });
    await next.complete(jobs);
    expect(await client.llen(key('wait'))).toBe(0);
  });

  it.each(writes.filter(([what]) => what !== 'put jobs back'))(
    'that opened the partition again in the same term can not %s late by its former opening',
    async (_, write) => {
      const again = await open('one', 'again');
      const before = await contents();
      await expect(write()).rejects.toThrow();
      expect(await contents()).toEqual(before);
      expect(await again.take(5)).toMatchObject([
        { id: taken.id, progress: 0, payload: { interactions: [interaction(0)] } },
        { payload: { interactions: [interaction(1)] } },
        { payload: { interactions: [interaction(2)] } },
      ]);
      await again.close();
    },
  );

  it.each(['take jobs', 'remember progress'])('throws conflict if its former opening tries to %s', async (what) => {
    const again = await open('one', 'again');
    await again.take(1);
    const write = writes.find(([name]) => name === what)?.[1];
    await expect(write?.()).rejects.toMatchObject({
      reason: 'conflict',
      message: `partition ${partition}: term 1 is over, or the partition was opened again`,
    });
    await again.close();
  });

  it('may go on after its lease was renewed', async () => {
    await table.hold('one', LONG_MS);
    await queue.complete([taken]);
    expect((await queue.take(5)).length).toBe(2);
  });

  it('is not needed to retry and to drop jobs that were set aside', async () => {
    await queue.fail(taken, 'invalid_request: wrong');
    for (const job of await queue.take(5)) await queue.fail(job, 'invalid_request: wrong');
    await table.leave('one', [0, 1, 2, 3]);
    const inspection = inspectQueue({ client, keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
    const [first] = await inspection.failed(5);
    expect(await inspection.drop([first?.id ?? ''])).toBe(1);
    expect(await inspection.retry()).toBe(2);
    await inspection.close();
  });
});
