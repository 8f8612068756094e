import { type Interaction, partitionOf } from '@collectivekv/domain';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { traceparentOf } from './interaction-jobs.js';
import { waitingCounts } from './open-queues.js';
import { interactionOf, otherUserIn, PARTITION, PARTITION_COUNT, useQueue } from './queue.fixture.js';

const queue = useQueue();
const waiting = async () => (await waitingCounts(queue.service(), 'ckv', [PARTITION]))[0];
const many = (count: number, from = 0) => Array.from({ length: count }, (_, i) => interactionOf(from + i));
/** A little more than the time of one memory of small calls. */
const HALF_MINUTE_MS = 30_001;
afterEach(() => void vi.useRealTimers());

/** Enqueues interactions and completes their jobs. */
async function applied(interactions: Interaction[]): Promise<void> {
  await queue.produce().enqueue(interactions);
  const consumer = await queue.consume();
  await consumer.complete(await consumer.take(10));
}

/** Lets time pass for the memories of small calls: Redis counts it by their time to live alone. */
async function pass(ms: number): Promise<void> {
  const client = queue.client();
  for (const memory of await client.keys(queue.key('added-*'))) {
    await client.pexpire(memory, (await client.pttl(memory)) - ms);
  }
}

describe('enqueue', () => {
  it.each([
    [1, [1]],
    [500, [500]],
    [501, [500, 1]],
    [1_000, [500, 500]],
  ])('splits %i interactions of a user into jobs of at most 500', async (count, sizes) => {
    await queue.produce().enqueue(many(count));
    const jobs = await (await queue.consume()).take(10);
    const payloads = jobs.map(({ payload }) => payload as { version: number; interactions: object[] });
    expect(payloads.map(({ interactions }) => interactions.length)).toEqual(sizes);
    expect(jobs.map(({ name, progress }) => [name, progress])).toEqual(sizes.map(() => ['record', 0]));
    expect(payloads.flatMap(({ interactions }) => interactions)).toEqual(many(count));
  });

  it('stores how BullMQ treats a job: one attempt, nothing kept when done, 10,000 failed jobs', async () => {
    await queue.produce().enqueue([interactionOf(1)]);
    const [id = ''] = await queue.client().lrange(queue.key('wait'), 0, -1);
    expect(JSON.parse((await queue.client().hget(queue.key(id), 'opts')) ?? '')).toMatchObject({
      attempts: 1,
      removeOnComplete: true,
      removeOnFail: { count: 10_000 },
    });
    expect(await queue.client().hget(queue.key('meta'), 'opts.maxLenEvents')).toBe('100');
  });

  it('skips a repeated call of 15 events of one user for an hour, also after they are done', async () => {
    await applied(many(15));
    await queue.produce().enqueue(many(15));
    expect(await waiting()).toBe(0);
    const [memory = ''] = await queue.client().keys(queue.key('de:*'));
    const leftMs = await queue.client().pttl(memory);
    expect(leftMs).toBeGreaterThan(3_000_000);
    expect(leftMs).toBeLessThanOrEqual(3_600_000);
    await queue.client().del(memory); // as Redis does in the end
    await queue.produce().enqueue(many(15));
    expect(await waiting()).toBe(1);
  });

  it.each([
    ['knows', 2, 0],
    ['forgets', 4, 1],
  ])('%s a call of 14 events of one user after %i half minutes with other calls', async (_, rounds, jobs) => {
    const call = [...many(14), interactionOf(99, otherUserIn(PARTITION))];
    await applied(call);
    for (let i = 0; i < rounds; i++) {
      await pass(HALF_MINUTE_MS);
      await applied([interactionOf(100 + i)]);
    }
    await queue.produce().enqueue(call);
    expect(await waiting()).toBe(jobs);
  });

  it.each([
    ['ahead by 50 minutes', 3_000_000],
    ['back by a day', -86_400_000],
  ])('knows a small call for a minute although the clock is set %s', async (_, stepMs) => {
    await applied(many(1));
    for (const [i, ms] of [HALF_MINUTE_MS, stepMs, HALF_MINUTE_MS].entries()) {
      await pass(ms);
      await applied([interactionOf(100 + i)]);
    }
    await queue.produce().enqueue(many(1));
    expect(await waiting()).toBe(0);
  });

  it('knows a small call for another minute whenever it is repeated', async () => {
    await applied(many(1));
    for (let i = 0; i < 6; i++) {
      await pass(HALF_MINUTE_MS);
      await queue.produce().enqueue(many(1));
      expect(await waiting()).toBe(0);
      await applied([interactionOf(100 + i)]);
    }
  });

  it('writes to Redis though it skips a call, so that replicas can confirm it', async () => {
    const changes = async () => /rdb_changes_since_last_save:(\d+)/.exec(await queue.client().info('persistence'))?.[1];
    const producer = queue.produce();
    await producer.enqueue(many(1));
    const before = Number(await changes());
    await producer.enqueue(many(1));
    expect(Number(await changes())).toBeGreaterThan(before);
  });

  it('holds the small calls of two minutes, also after the clock was set back by a day, and all expire', async () => {
    const client = queue.client();
    for (let i = 0; i < 12; i++) {
      await pass(i === 3 ? -86_400_000 : HALF_MINUTE_MS);
      for (let j = 0; j < 5; j++) await applied([interactionOf(5 * i + j)]);
      const memories = await client.keys(queue.key('added-*'));
      expect(memories.length).toBe(Math.min(i + 1, 4));
      for (const memory of memories) expect(await client.hlen(memory)).toBe(5);
    }
    await pass(3_600_000);
    expect(await client.keys(queue.key('added-*'))).toEqual([]);
  });

  it('skips a repeated call of several jobs, none of them large', async () => {
    const producer = queue.produce();
    const users = Array.from({ length: 9_999 }, (_, i) => `user ${i}`);
    const own = users.filter((userId) => partitionOf(userId, PARTITION_COUNT) === PARTITION).slice(0, 600);
    const call = own.map((userId) => interactionOf(0, userId));
    await producer.enqueue(call);
    const consumer = await queue.consume();
    expect(await consumer.take(10).then((jobs) => consumer.complete(jobs).then(() => jobs.length))).toBe(2);
    await producer.enqueue(call);
    expect(await waiting()).toBe(0);
  });

  it('skips a repeated call in which a user has more events than the ring holds, though no job of it has', async () => {
    const producer = queue.produce();
    const neighbours = Array.from({ length: 9_999 }, (_, i) => `neighbour ${i}`).filter(
      (userId) => partitionOf(userId, PARTITION_COUNT) === PARTITION,
    );
    const between = neighbours.slice(0, 500).map((userId) => interactionOf(0, userId));
    const call = [...many(8), ...between, ...many(8, 8)];
    await producer.enqueue(call);
    const consumer = await queue.consume();
    const jobs = await consumer.take(10);
    expect(jobs.length).toBe(2);
    await consumer.complete(jobs);
    await producer.enqueue(call);
    expect(await waiting()).toBe(0);
  });

  it.each([
    ['with the same key', 'a key', 'a key', 0],
    ['with another key', 'a key', 'another key', 1],
    ['without the key', 'a key', '', 1],
    ['with a key at last', '', 'a key', 1],
  ])('queues a small call again after it is done, %s: %s, %s, %i job', async (_, first, second, jobs) => {
    const producer = queue.produce();
    await producer.enqueue(many(2), first);
    const consumer = await queue.consume();
    await consumer.complete(await consumer.take(10));
    await producer.enqueue(many(2), second);
    expect(await waiting()).toBe(jobs);
  });

  it('queues other events under a key that was used before', async () => {
    const producer = queue.produce();
    await producer.enqueue(many(2), 'a key');
    await producer.enqueue(many(3), 'a key');
    expect(await waiting()).toBe(2);
  });

  it('trusts its count of waiting jobs for 100 ms, then counts again', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const [full, other] = [queue.produce(2), queue.produce()];
    await full.enqueue(many(1));
    await other.enqueue(many(1, 10));
    vi.advanceTimersByTime(100);
    await full.enqueue(many(1, 1)); // counts one waiting job; there are two
    const overloaded = { reason: 'overloaded', retryAfterMs: 1_000, message: expect.stringMatching(/at most 2 may/) };
    await expect(full.enqueue(many(1, 2))).rejects.toMatchObject(overloaded);
    const consumer = await queue.consume();
    await consumer.complete(await consumer.take(10));
    await expect(full.enqueue(many(1, 2))).rejects.toMatchObject(overloaded);
    vi.advanceTimersByTime(1);
    await full.enqueue(many(1, 2));
    expect(await waiting()).toBe(1);
  });

  it('counts the waiting jobs again although the clock was set back by a day', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    const full = queue.produce(1);
    await full.enqueue(many(2));
    vi.setSystemTime(Date.now() - 86_400_000);
    vi.advanceTimersByTime(101);
    const consumer = await queue.consume();
    await consumer.complete(await consumer.take(10));
    await full.enqueue(many(2, 2));
    expect(await waiting()).toBe(1);
  });

  it('bounds each partition by itself', async () => {
    const producer = queue.produce(1);
    const other = otherUserIn((PARTITION + 1) % PARTITION_COUNT);
    await producer.enqueue([interactionOf(1), interactionOf(1, other)]);
    await expect(producer.enqueue([interactionOf(2)])).rejects.toMatchObject({ reason: 'overloaded' });
    expect(await waitingCounts(queue.service(), 'ckv', [0, 1, 2, 3])).toHaveLength(4);
  });
});

describe('forget', () => {
  it("queues a removal behind its user's interactions", async () => {
    const producer = queue.produce();
    await producer.enqueue([interactionOf(1)]);
    await producer.forget(interactionOf(1));
    const jobs = await (await queue.consume()).take(10);
    expect(jobs.map(({ name }) => name)).toEqual(['record', 'forget']);
    expect(jobs[1]).toMatchObject({
      id: expect.stringMatching(/^forget-[0-9a-f]{24}$/),
      payload: { version: 1, interaction: interactionOf(1) },
    });
  });

  it('queues the same removal again after it is done: the first may have come before its interaction', async () => {
    const producer = queue.produce();
    await producer.forget(interactionOf(1));
    const consumer = await queue.consume();
    await consumer.complete(await consumer.take(10));
    await producer.forget(interactionOf(1));
    expect(await waiting()).toBe(1);
  });

  it('queues the same removal once while it waits', async () => {
    const producer = queue.produce();
    await producer.forget(interactionOf(1));
    await producer.forget(interactionOf(1));
    await producer.forget(interactionOf(2));
    expect(await waiting()).toBe(2);
  });

  it('is refused at the bound', async () => {
    const producer = queue.produce(1);
    await producer.forget(interactionOf(1));
    await expect(producer.forget(interactionOf(2))).rejects.toMatchObject({ reason: 'overloaded' });
  });
});

describe('forward', () => {
  it('keeps the span that queued the job', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await queue.produce().forward({ kind: 'record', interactions: [interactionOf(1)] }, 'job 1', traceparent);
    const [job] = await (await queue.consume()).take(1);
    expect(traceparentOf(job?.payload)).toBe(traceparent);
  });

  it('queues interactions and removals beyond the bound', async () => {
    const producer = queue.produce(1);
    await producer.enqueue([interactionOf(1)]);
    await producer.forward({ kind: 'record', interactions: [interactionOf(2)] }, 'job 1');
    await producer.forward({ kind: 'forget', interaction: interactionOf(3) }, 'job 2');
    const jobs = await (await queue.consume()).take(10);
    expect(jobs.map(({ name, payload }) => [name, payload])).toEqual([
      ['record', { version: 1, interactions: [interactionOf(1)] }],
      ['record', { version: 1, interactions: [interactionOf(2)] }],
      ['forget', { version: 1, interaction: interactionOf(3) }],
    ]);
  });

  it.each([
    { kind: 'record', interactions: [interactionOf(1)] },
    { kind: 'forget', interaction: interactionOf(1) },
  ] as const)('queues a $kind job once though it is forwarded again after it is done', async (job) => {
    const producer = queue.produce();
    const consumer = await queue.consume();
    const counts: (number | undefined)[] = [];
    for (const origin of ['job 1', 'job 1', 'job 2']) {
      await producer.forward(job, origin);
      counts.push(await waiting());
      await consumer.complete(await consumer.take(10));
    }
    expect(counts).toEqual([1, 0, 1]);
  });
});
