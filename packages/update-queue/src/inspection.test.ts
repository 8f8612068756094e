import { afterEach, describe, expect, it, vi } from 'vitest';
import { inspectQueue } from './inspection.js';
import { recordJobData } from './interaction-jobs.js';
import { openQueues } from './open-queues.js';
import { interactionOf, PARTITION, PARTITION_COUNT, useQueue } from './queue.fixture.js';

const queue = useQueue();
const inspect = () => inspectQueue({ client: queue.operator(), keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
afterEach(() => void vi.useRealTimers());

/** Sets the jobs of `count` interactions aside, 1 s apart, oldest first. */
async function setAside(count: number): Promise<void> {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_700_000_000_000 });
  const producer = queue.produce();
  for (let n = 0; n < count; n++) await producer.enqueue([interactionOf(n)]);
  const consumer = await queue.consume();
  for (const [n, job] of (await consumer.take(count)).entries()) {
    vi.setSystemTime(1_700_000_000_000 + 1_000 * n);
    await consumer.fail(job, `bug: number ${n}`);
  }
}

/** Writes failed jobs of `count` interactions as BullMQ keeps them, oldest first: much faster than failing them. */
async function plantFailed(count: number, partition = PARTITION, firstMs = 1): Promise<void> {
  const client = queue.client();
  const key = (name: string) => `{ckv}:interactions-${partition}:${name}`;
  const writes = Array.from({ length: count }, async (_, n) => {
    const fields = { name: 'record', data: JSON.stringify(recordJobData([interactionOf(n)])), opts: '{"attempts":1}' };
    const failedMs = firstMs + 10 * n;
    await client.hset(key(`job-${n}`), { ...fields, timestamp: 1, finishedOn: failedMs, failedReason: 'bug: no' });
    await client.zadd(key('failed'), failedMs, `job-${n}`);
  });
  await Promise.all(writes);
}

/** Takes every waiting job. Returns the events, in order. */
async function takenEvents(): Promise<string[]> {
  const jobs = await (await queue.consume()).take(5_000);
  return jobs.flatMap(
    ({ payload }) => (payload as { interactions: { eventId: string }[] }).interactions[0]?.eventId ?? '',
  );
}

describe('counts', () => {
  it('counts delayed and prioritised jobs as waiting', async () => {
    const own = openQueues(queue.client(), 'ckv', PARTITION_COUNT)[PARTITION];
    await own?.add('record', {});
    await own?.add('record', {}, { delay: 600_000 });
    await own?.add('record', {}, { delay: 600_000 });
    for (let i = 0; i < 4; i++) await own?.add('record', {}, { priority: 3 });
    const counts = await inspect().counts();
    expect(counts.map(({ partition }) => partition)).toEqual([0, 1, 2, 3]);
    expect(counts[PARTITION]).toEqual({ partition: PARTITION, waiting: 7, active: 0, failed: 0 });
    await (await queue.consume()).take(1);
    expect((await inspect().counts())[PARTITION]).toMatchObject({ waiting: 6, active: 1 });
  });
});

describe('failed', () => {
  it('returns the newest jobs first, at most as many as asked', async () => {
    await setAside(3);
    expect(await inspect().failed(2)).toEqual(
      [2, 1].map((n) => ({
        partition: PARTITION,
        id: expect.stringMatching(/^record-[0-9a-f]{24}\.aside-/),
        name: 'record',
        problem: `bug: number ${n}`,
        failedAtMs: 1_700_000_000_000 + 1_000 * n,
        payload: { version: 1, interactions: [interactionOf(n)] },
      })),
    );
    expect(await inspect().failed(9)).toHaveLength(3);
  });
});

describe('failed jobs of several partitions', () => {
  it('are merged by time, and cut after the merge', async () => {
    await plantFailed(3, 0, 1);
    await plantFailed(3, 3, 2);
    const listed = await inspect().failed(4);
    expect(listed.map(({ partition, failedAtMs }) => [partition, failedAtMs])).toEqual([
      [3, 22],
      [0, 21],
      [3, 12],
      [0, 11],
    ]);
  });
});

describe('retry', () => {
  it('puts more than a page of jobs back, in the order in which they failed', async () => {
    await plantFailed(1_001);
    expect(await inspect().retry()).toBe(1_001);
    expect(await takenEvents()).toEqual(Array.from({ length: 1_001 }, (_, n) => `e${n}`));
    expect(await inspect().retry()).toBe(0);
  });

  it('puts each job back once, if two operators do it at the same time', async () => {
    await plantFailed(300);
    const counts = await Promise.all([inspect().retry(), inspect().retry()]);
    expect(counts[0] + counts[1]).toBe(300);
    expect(await takenEvents()).toHaveLength(300);
  });

  it('goes on behind a job that has gone while a page was read', async () => {
    await plantFailed(1_500);
    await queue.client().zadd(queue.key('failed'), Date.now(), 'gone');
    expect(await inspect().retry()).toBe(1_500);
  });

  it('puts back exactly the named jobs', async () => {
    await setAside(3);
    const [newest] = await inspect().failed(1);
    expect(await inspect().retry([newest?.id ?? '', 'nobody'])).toBe(1);
    expect(await takenEvents()).toEqual(['e2']);
  });
});

describe('drop', () => {
  it('deletes exactly the named jobs, then all', async () => {
    await setAside(3);
    const [newest] = await inspect().failed(1);
    expect(await inspect().drop([newest?.id ?? ''])).toBe(1);
    expect((await inspect().failed(9)).map(({ problem }) => problem)).toEqual(['bug: number 1', 'bug: number 0']);
    expect(await inspect().drop()).toBe(2);
    expect(await queue.client().keys(queue.key('record-*'))).toEqual([]);
  });
});
