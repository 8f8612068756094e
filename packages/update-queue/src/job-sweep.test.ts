// What an erasure does to the jobs of a real queue, in every state that BullMQ has.
import type { Interaction } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { deleteJobData, forgetJobData, recordJobData } from './interaction-jobs.js';
import { openQueues } from './open-queues.js';
import type { PartitionQueue } from './partition-queue.js';
import { interactionOf, otherUserIn, PARTITION, PARTITION_COUNT, useQueue } from './queue.fixture.js';
import type { Erasure } from './strip-job.js';

type Queue = ReturnType<typeof openQueues>[number];

const queue = useQueue();
const FOREIGN = (PARTITION + 1) % PARTITION_COUNT;
const v = otherUserIn(PARTITION);
const RECEIPT = '2f1f7c4e-0000-4000-8000-000000000001';
let queues: Queue[];
let consumer: PartitionQueue;

beforeEach(async () => {
  queues = openQueues(queue.client(), 'ckv', PARTITION_COUNT);
  consumer = await queue.consume();
  finished = [];
});
afterEach(() => Promise.all([consumer.close(), ...queues.map((one) => one.close())]));

const add = async (partition: number, interactions: readonly Interaction[], opts: Parameters<Queue['add']>[2] = {}) =>
  (await queues[partition]?.add('record', recordJobData(interactions), opts))?.id ?? '';
/** Returns the users of a job's interactions; undefined if the job is gone. */
async function usersOf(partition: number, id: string): Promise<string[] | undefined> {
  const job = await queues[partition]?.getJob(id);
  return job?.data.interactions?.map(({ userId }: Interaction) => userId);
}
/** Erasures whose receipts were to be finished. */
let finished: Erasure[];
const finish = async (erasures: readonly Erasure[]) => void finished.push(...erasures);
const erase = (eventId?: string) =>
  consumer.erase({ userId: 'u', ...(eventId === undefined ? {} : { eventId }) }, PARTITION_COUNT, finish);
/** Returns every key and value of Redis as one text. */
async function everything(): Promise<string> {
  const client = queue.client();
  const texts = (await client.keys('*')).map(async (key) => {
    const type = await client.type(key);
    if (type === 'hash') return [key, await client.hgetall(key)];
    if (type === 'list') return [key, await client.lrange(key, 0, -1)];
    if (type === 'zset') return [key, await client.zrangebyscore(key, '-inf', '+inf')];
    if (type === 'stream') return [key, await client.xrange(key, '-', '+')];
    return [key, await client.get(key)];
  });
  return JSON.stringify(await Promise.all(texts));
}

describe('erase', () => {
  const mixed = () => [interactionOf(1), interactionOf(2, v)];

  it.each([
    ['delayed', { delay: 3_600_000 }],
    ['prioritised', { priority: 5 }],
  ])('strips %s jobs, and removes those without another user', async (_, opts) => {
    const [ofBoth, ofOne] = [await add(PARTITION, mixed(), opts), await add(PARTITION, [interactionOf(3)], opts)];
    expect(await erase()).toEqual({ setAsideCount: 0, waitingCount: 2, keptCount: 0 });
    expect(await usersOf(PARTITION, ofBoth)).toEqual([v]);
    expect(await usersOf(PARTITION, ofOne)).toBeUndefined();
    expect((await queues[PARTITION]?.getJobCounts())?.waiting).toBe(0);
    expect(await erase()).toMatchObject({ waitingCount: 0 });
  });

  it('strips jobs that were set aside, of this partition and of others', async () => {
    for (const interactions of [mixed(), [interactionOf(3)]]) await add(PARTITION, interactions);
    for (const job of await consumer.take(9)) await consumer.fail(job, 'refused');
    expect(await erase()).toMatchObject({ setAsideCount: 2 });
    const [left, ...others] = (await queues[PARTITION]?.getFailed()) ?? [];
    expect(others).toEqual([]);
    expect(left?.data).toEqual(recordJobData([interactionOf(2, v)]));
  });

  it('removes jobs that nobody can read, if they mention the user', async () => {
    const ids = [await add(PARTITION, [interactionOf(1)]), await add(PARTITION, [interactionOf(2, v)])];
    await queue.client().hset(queue.key(ids[0] ?? ''), 'data', '{"userId":"u", NaN');
    await queue.client().hset(queue.key(ids[1] ?? ''), 'data', `{"userId":"${v}", NaN`);
    await consumer.take(9);
    expect(await erase()).toMatchObject({ setAsideCount: 1 });
    expect(await everything()).toContain(v);
  });

  it('strips completed jobs that their senders keep', async () => {
    await add(PARTITION, mixed(), { removeOnComplete: false });
    await consumer.complete(await consumer.take(9));
    expect(await erase()).toMatchObject({ keptCount: 1 });
    expect((await queues[PARTITION]?.getCompleted())?.[0]?.data).toEqual(recordJobData([interactionOf(2, v)]));
  });

  it('leaves jobs that wait in the own partition, and active jobs', async () => {
    const active = await add(PARTITION, [interactionOf(1)]);
    await consumer.take(1);
    const behind = await add(PARTITION, mixed());
    expect(await erase()).toEqual({ setAsideCount: 0, waitingCount: 0, keptCount: 0 });
    expect(await usersOf(PARTITION, active)).toEqual(['u']);
    expect(await usersOf(PARTITION, behind)).toEqual(['u', v]);
  });

  it.each([false, true])('strips jobs that wait in other partitions; paused: %s', async (paused) => {
    if (paused) await queues[FOREIGN]?.pause();
    const [ofBoth, ofOne] = [await add(FOREIGN, mixed()), await add(FOREIGN, [interactionOf(3)])];
    expect(await erase()).toMatchObject({ waitingCount: 2 });
    expect(await usersOf(FOREIGN, ofBoth)).toEqual([v]);
    expect(await usersOf(FOREIGN, ofOne)).toBeUndefined();
  });

  it.each([
    ['delayed', { delay: 1 }],
    ['prioritised', { priority: 5 }],
  ])('strips a %s job that comes up behind the erasure in its own partition', async (_, opts) => {
    const early = await add(PARTITION, mixed(), opts);
    const addedMs = Date.now();
    await vi.waitUntil(() => Date.now() > addedMs + 1); // the delay is over
    const producer = queue.produce();
    await producer.deleteUser('u', RECEIPT);
    const later = await add(PARTITION, [interactionOf(3)]);
    expect((await consumer.take(9)).map(({ name }) => name)).toEqual(['delete']);
    expect(consumer.isErasing()).toBe(true);
    expect(await consumer.take(9)).toEqual([]);
    expect(await erase()).toMatchObject({ waitingCount: 1 });
    expect(await usersOf(PARTITION, early)).toEqual([v]);
    expect(await usersOf(PARTITION, later)).toEqual(['u']);
    await producer.close();
  });

  it('strips a job that was set aside and is retried, behind the erasure', async () => {
    const id = await add(PARTITION, [interactionOf(1)]);
    for (const job of await consumer.take(9)) await consumer.fail(job, 'refused');
    const [aside] = (await queues[PARTITION]?.getFailed()) ?? [];
    await aside?.retry('failed');
    expect(aside?.id?.startsWith(id)).toBe(true);
    expect(await erase()).toMatchObject({ waitingCount: 1 });
    expect(await consumer.take(9)).toEqual([]);
  });

  it.each(['delayed', 'wait'])('finds a job although another is removed from %s meanwhile', async (container) => {
    const key = `{ckv}:interactions-${FOREIGN}:${container}`;
    const others = (from: number) => Array.from({ length: 500 }, (_, n) => `job-${from + n}`);
    const client = queue.client();
    const plant = async (ids: readonly string[], score: number) => {
      if (container === 'wait') await client.rpush(key, ...ids);
      else await client.zadd(key, ...ids.flatMap((id) => [score, id]));
    };
    const id = await add(FOREIGN, [interactionOf(1)], container === 'wait' ? {} : { delay: 3_600_000 });
    await client.del(key);
    await plant(others(0), 1);
    await plant([id], 2);
    await plant(others(500), 3);
    const commands = queue.service() as unknown as { ckvFindMentions(...args: unknown[]): Promise<unknown> };
    const find = commands.ckvFindMentions.bind(commands);
    const finds = vi.spyOn(commands, 'ckvFindMentions').mockImplementation(async (...args) => {
      const found = await find(...args);
      if (!JSON.stringify(args).includes(`interactions-${FOREIGN}:`)) return found;
      if (container === 'wait') await client.lrem(key, 0, 'job-0');
      else await client.zrem(key, 'job-0');
      return found;
    });
    expect(await erase()).toMatchObject({ waitingCount: 1 });
    finds.mockRestore();
  });

  it('keeps the deduplication id of a removed job for its time: a late try of the call stays without effect', async () => {
    const many = Array.from({ length: 20 }, (_, n) => interactionOf(n));
    const producer = queue.produce();
    await producer.enqueue(many);
    for (const job of await consumer.take(9)) await consumer.fail(job, 'refused');
    await add(FOREIGN, [interactionOf(30)], { deduplication: { id: 'of-u', ttl: 60_000 } });
    expect(await erase()).toMatchObject({ setAsideCount: 1, waitingCount: 1 });
    await add(FOREIGN, [interactionOf(30)], { deduplication: { id: 'of-u', ttl: 60_000 } });
    expect(await queues[FOREIGN]?.getWaitingCount()).toBe(0);
    await producer.close();
  });

  describe('with other erasures of the user', () => {
    const setAside = async () => {
      const producer = queue.produce();
      await producer.deleteUser('u', RECEIPT);
      for (const job of await consumer.take(9)) await consumer.fail(job, 'refused');
      await producer.close();
    };

    it('finishes those that were set aside, and removes their jobs after that', async () => {
      await setAside();
      const failed = async () => (await queues[PARTITION]?.getFailedCount()) ?? 0;
      const broken = async () => {
        expect(await failed()).toBe(1);
        throw new Error('broken');
      };
      await expect(consumer.erase({ userId: 'u' }, PARTITION_COUNT, broken)).rejects.toThrow();
      expect(await failed()).toBe(1);
      expect(await erase()).toMatchObject({ setAsideCount: 1 });
      expect(finished).toEqual([{ userId: 'u', receiptId: RECEIPT }]);
      expect(await failed()).toBe(0);
    });

    it.each([
      ['delayed', PARTITION, { delay: 3_600_000 }],
      ['waiting in another partition', FOREIGN, {}],
    ])('leaves one that is %s: it has its own turn', async (_, partition, opts) => {
      await queues[partition]?.add('delete', deleteJobData('u', RECEIPT), opts);
      expect(await erase()).toMatchObject({ waitingCount: 0 });
      expect(finished).toEqual([]);
      expect(await queues[partition]?.count()).toBe(1);
    });

    it('leaves a removal without a receipt that waits, and takes one that cannot be read', async () => {
      await queues[FOREIGN]?.add('forget', forgetJobData(interactionOf(1)));
      await queues[PARTITION]?.add('forget', forgetJobData(interactionOf(2)), { delay: 3_600_000 });
      await queues[FOREIGN]?.add('forgte', forgetJobData(interactionOf(3), RECEIPT));
      expect(await erase()).toMatchObject({ waitingCount: 1 });
      const left = await Promise.all([PARTITION, FOREIGN].map((one) => queues[one]?.count()));
      expect(left).toEqual([1, 1]);
    });
  });

  it('forgets the deduplication id of a removed job, and leaves that of a stripped one', async () => {
    await add(FOREIGN, [interactionOf(3)], { deduplication: { id: 'of-u' } });
    await add(FOREIGN, mixed(), { deduplication: { id: 'of-both' } });
    await erase();
    const known = await queue.client().keys('*:de:*');
    expect(known).toEqual([`{ckv}:interactions-${FOREIGN}:de:of-both`]);
  });

  it('takes one event out, and leaves the other events of the user', async () => {
    const id = await add(PARTITION, [interactionOf(1), interactionOf(2)], { delay: 3_600_000 });
    expect(await erase('e1')).toMatchObject({ waitingCount: 1 });
    expect((await queues[PARTITION]?.getJob(id))?.data).toEqual(recordJobData([interactionOf(2)]));
  });

  it('takes an event out of a job that was set aside and is retried, behind the removal', async () => {
    await add(PARTITION, [interactionOf(1), interactionOf(2)]);
    for (const job of await consumer.take(9)) await consumer.fail(job, 'refused');
    const [aside] = (await queues[PARTITION]?.getFailed()) ?? [];
    await aside?.retry('failed');
    expect(await erase('e1')).toMatchObject({ waitingCount: 1 });
    expect((await consumer.take(9)).map(({ payload }) => payload)).toEqual([recordJobData([interactionOf(2)])]);
  });

  it('leaves an event in a delayed job that has come up: it counts as enqueued when it came up', async () => {
    const id = await add(PARTITION, [interactionOf(1)], { delay: 3_600_000 });
    await (await queues[PARTITION]?.getJob(id))?.promote();
    expect(await erase('e1')).toMatchObject({ waitingCount: 0 });
    expect(await usersOf(PARTITION, id)).toEqual(['u']);
    expect(await erase()).toMatchObject({ waitingCount: 1 });
  });

  it('reads no job of a backlog in the own partition to forget one event', async () => {
    await add(PARTITION, [interactionOf(1)]);
    const finds = vi.spyOn(queue.service() as unknown as { ckvFindMentions(): unknown }, 'ckvFindMentions');
    await erase('e1');
    expect(finds).not.toHaveBeenCalled();
    finds.mockRestore();
  });

  it.each([
    ['paused', 'wait'],
    ['wait', 'paused'],
    ['wait', 'prioritized'],
    ['prioritized', 'wait'],
    ['delayed', 'wait'],
    ['failed', 'wait'],
  ])('misses no job that moves from %s to %s, whenever it moves', async (from, to) => {
    const client = queue.client();
    const service = queue.service();
    const keys = `{ckv}:interactions-${FOREIGN}:`;
    const isList = (name: string) => name === 'wait' || name === 'paused';
    const put = (name: string, id: string) =>
      isList(name) ? client.lpush(keys + name, id) : client.zadd(keys + name, 1, id);
    const [lrange, zscan] = [service.lrange.bind(service), service.zscan.bind(service)];
    for (let reads = 0, moveAt = 1; moveAt <= reads + 1; moveAt++) {
      const id = await add(FOREIGN, [interactionOf(1)]);
      await client.del(`${keys}wait`);
      await put(from, id);
      reads = 0;
      const moving = async (key: unknown) => {
        if (!String(key).startsWith(keys) || ++reads !== moveAt) return;
        await (isList(from) ? client.lrem(keys + from, 0, id) : client.zrem(keys + from, id));
        if (await client.exists(keys + id)) await put(to, id);
      };
      vi.spyOn(service, 'lrange').mockImplementation(async (...args) => {
        await moving(args[0]);
        return lrange(...args);
      });
      vi.spyOn(service, 'zscan').mockImplementation((async (...args: Parameters<typeof zscan>) => {
        await moving(args[0]);
        return zscan(...args);
      }) as never);
      await erase();
      vi.restoreAllMocks();
      expect(await usersOf(FOREIGN, id), `moved at read ${moveAt} of ${reads}`).toBeUndefined();
    }
  });

  it('leaves an event in jobs that wait in other partitions: they count as enqueued when they are passed on', async () => {
    const id = await add(FOREIGN, [interactionOf(1)]);
    expect(await erase('e1')).toMatchObject({ waitingCount: 0 });
    expect(await usersOf(FOREIGN, id)).toEqual(['u']);
  });

  it('looks at the newest 10,000 jobs that wait in another partition', async () => {
    const oldest = await add(FOREIGN, [interactionOf(1)]);
    const others = (count: number) => Array.from({ length: count }, (_, n) => `job-${n}`);
    await queue.client().lpush(`{ckv}:interactions-${FOREIGN}:wait`, ...others(10_000));
    expect(await erase()).toMatchObject({ waitingCount: 0 });
    expect(await usersOf(FOREIGN, oldest)).toEqual(['u']);
    await queue.client().lpop(`{ckv}:interactions-${FOREIGN}:wait`);
    expect(await erase()).toMatchObject({ waitingCount: 1 });
  });

  it('finds a user on every page of a long set, also behind jobs of others', async () => {
    const jobs = Array.from({ length: 1_100 }, (_, n) => interactionOf(n, n % 55 === 0 ? 'u' : v));
    const plant = queue.client().pipeline();
    for (const [n, interaction] of jobs.entries()) {
      plant.hset(queue.key(`job-${n}`), 'data', JSON.stringify(recordJobData([interaction])));
      plant.zadd(queue.key('delayed'), n, `job-${n}`);
    }
    await plant.exec();
    expect(await erase()).toMatchObject({ waitingCount: 20 });
    expect(await queues[PARTITION]?.getDelayedCount()).toBe(1_080);
  });

  it('empties the streams of events, which hold the ids of jobs', async () => {
    await add(PARTITION, [interactionOf(1)], { jobId: 'job-of-u' });
    await consumer.complete(await consumer.take(1));
    expect(await everything()).toContain('job-of-u');
    await erase();
    expect(await everything()).not.toContain('job-of-u');
  });

  it('leaves no text of a user with an id that JSON escapes', async () => {
    const strange = 'ü"\\{😀}';
    await queues[FOREIGN]?.add('record', recordJobData([{ ...interactionOf(1), userId: strange }]));
    const id = await add(FOREIGN, [interactionOf(2, v)]);
    const escaped = '{"version":1,"interactions":[{"userId":"\\u00fc\\"\\\\{\\ud83d\\ude00}"}]}';
    await queue.client().hset(`{ckv}:interactions-${FOREIGN}:${id}`, 'data', escaped);
    expect(await consumer.erase({ userId: strange }, PARTITION_COUNT, finish)).toMatchObject({ waitingCount: 2 });
    expect(await queues[FOREIGN]?.getWaitingCount()).toBe(0);
  });

  it('is refused after the partition was opened again, and strips nothing', async () => {
    const id = await add(PARTITION, [interactionOf(1)], { delay: 3_600_000 });
    const other = await queue.consume('two');
    await expect(erase()).rejects.toMatchObject({ reason: 'conflict' });
    expect(await usersOf(PARTITION, id)).toEqual(['u']);
    await other.close();
  });

  it('strips a job again that changed since it was read', async () => {
    const id = await add(PARTITION, [interactionOf(1)], { delay: 3_600_000 });
    const client = queue.service();
    const read = client.hmgetBuffer.bind(client);
    let changes = 2;
    const reads = vi.spyOn(client, 'hmgetBuffer').mockImplementation(async (...args) => {
      const bytes = await read(...(args as [string, ...string[]]));
      const next = recordJobData([interactionOf(changes), interactionOf(3, v)]);
      if (changes-- > 0) await client.hset(queue.key(id), 'data', JSON.stringify(next));
      return bytes;
    });
    expect(await erase()).toMatchObject({ waitingCount: 1 });
    reads.mockRestore();
    expect(await usersOf(PARTITION, id)).toEqual([v]);
  });
});
