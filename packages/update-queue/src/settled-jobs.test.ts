import { describe, expect, it } from 'vitest';
import { interactionOf, PARTITION, PARTITION_COUNT, useQueue } from './queue.fixture.js';
import { openWarmings } from './warmings.js';

const queue = useQueue();
const warmings = () => openWarmings({ client: queue.operator(), keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
const others = (counts: readonly number[]) => counts.filter((_, partition) => partition !== PARTITION);

async function enqueue(...numbers: number[]): Promise<void> {
  const producer = queue.produce();
  for (const n of numbers) await producer.enqueue([interactionOf(n)]);
  await producer.close();
}

describe('the jobs that a backfill waits for', () => {
  it('are those that waited as it looked, and none that came later', async () => {
    await enqueue(1, 2, 3);
    const newest = await warmings().newestJobs();
    await enqueue(4, 5);
    const left = async () => (await warmings().leftUpTo(newest))[PARTITION];
    expect(await left()).toBe(3);
    expect(others(await warmings().leftUpTo(newest))).toEqual([0, 0, 0]);
    const consumer = await queue.consume();
    const [first, second] = await consumer.take(2);
    expect(await left()).toBe(1);
    const [third] = await consumer.take(1);
    if (!first || !second || !third) throw new Error('nothing taken');
    expect(await left()).toBe(1); // it is being applied
    await consumer.complete([third]);
    expect(await left()).toBe(0);

    const inHand = await warmings().jobsInHand();
    expect(inHand[PARTITION]).toEqual(expect.arrayContaining([first.id, second.id]));
    await consumer.complete([first, second, ...(await consumer.take(9))]);
    expect(await warmings().leftUpTo(inHand)).toEqual([0, 0, 0, 0]);
  });

  it('are still those after the death of an updater', async () => {
    await enqueue(1, 2, 3);
    const newest = await warmings().newestJobs();
    const dead = await queue.consume();
    await dead.take(3);
    const inHand = await warmings().jobsInHand();
    const next = await queue.consume('two');
    expect((await warmings().leftUpTo(newest))[PARTITION]).toBe(3);
    const taken = await next.take(2);
    await next.complete(taken);
    expect((await warmings().leftUpTo(inHand))[PARTITION]).toBe(1);
    await next.complete(await next.take(1));
    expect((await warmings().leftUpTo(inHand))[PARTITION]).toBe(0);
  });

  it('are none in an empty queue', async () => {
    expect(await warmings().leftUpTo(await warmings().newestJobs())).toEqual([0, 0, 0, 0]);
    expect(await warmings().jobsInHand()).toEqual([[], [], [], []]);
  });
});
