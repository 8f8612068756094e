import { partitionOf } from '@collectivekv/domain';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { waitingCounts } from './open-queues.js';
import { interactionOf, otherUserIn, PARTITION, PARTITION_COUNT, useQueue } from './queue.fixture.js';

const queue = useQueue();
const waiting = async () => (await waitingCounts(queue.service(), 'ckv', [PARTITION]))[0];
const many = (count: number, from = 0) => Array.from({ length: count }, (_, i) => interactionOf(from + i));
afterEach(() => void vi.useRealTimers());

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

  it.each([
    [14, 60_000, 'added:*'],
    [15, 3_600_000, 'de:*'],
  ])(
    'skips a repeated call of %i events of one user for %i ms, also after they are done',
    async (count, forMs, kind) => {
      const producer = queue.produce();
      const batch = [...many(count), interactionOf(99, otherUserIn(PARTITION))];
      await producer.enqueue(batch);
      const consumer = await queue.consume();
      await consumer.complete(await consumer.take(10));
      await producer.enqueue(batch);
      expect(await waiting()).toBe(0);
      const [memory = ''] = await queue.client().keys(queue.key(kind));
      const leftMs = await queue.client().pttl(memory);
      expect(leftMs).toBeGreaterThan(forMs * 0.8);
      expect(leftMs).toBeLessThanOrEqual(forMs);
      await queue.client().del(memory); // as Redis does in the end
      await producer.enqueue(batch);
      expect(await waiting()).toBe(1);
    },
  );

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
