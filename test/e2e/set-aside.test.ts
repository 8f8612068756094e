// Jobs that cannot succeed are set aside. They are visible, they can be retried, and all other interactions are
// processed.
import { partitionOf } from '@collectivekv/domain';
import { openQueues, recordJobData } from '@collectivekv/update-queue';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type E2eStack,
  foreignRecord,
  interactionsOf,
  keyOf,
  PARTITIONS,
  startE2e,
  usersOfPartition,
  withQueue,
} from './e2e-stack.js';

let e2e: E2eStack;
beforeAll(async () => {
  e2e = await startE2e();
});
afterAll(() => e2e?.close());

it('sets a malformed job aside with the reason, and takes it again after a retry', async () => {
  await withQueue(e2e, async ({ inspection, redis }) => {
    const failedCount = async () => (await inspection.failed(5)).length;
    const [queue] = openQueues(redis, 'ckv', 1);
    await queue?.add('record', { version: 1, interactions: [{ eventId: 'p', userId: 'poison' }] });
    await queue?.close();
    await expect.poll(failedCount, { timeout: 60_000 }).toBe(1);
    const [first] = await inspection.failed(5);
    expect(first?.problem).toMatch(/itemId/);
    expect(await inspection.retry()).toBe(1);
    await expect
      .poll(async () => (await inspection.failed(5))[0]?.failedAtMs, { timeout: 60_000 })
      .toBeGreaterThan(first?.failedAtMs ?? Number.POSITIVE_INFINITY);
    expect(await inspection.drop()).toBe(1);
    expect(await failedCount()).toBe(0);
  });
});

it("sets one user's refused interactions aside, but not those of other users in the same job", async () => {
  const { model } = e2e.bundle;
  const [good = ''] = usersOfPartition(partitionOf('bad', PARTITIONS), 1, 'good');
  await withQueue(e2e, async ({ inspection, redis }) => {
    await redis.set(keyOf(model, 'bad'), foreignRecord(model));
    const [ofBad, ofGood] = [interactionsOf('bad', 30), interactionsOf(good, 50)];
    await e2e.client.recordInteractions(ofBad.flatMap((one, i) => [one, ofGood[i] ?? one]));
    await expect.poll(async () => (await inspection.failed(5)).length, { timeout: 60_000 }).toBe(1);
    expect((await inspection.failed(5))[0]).toMatchObject({
      problem: expect.stringMatching(/^encoding_mismatch/),
      payload: { interactions: ofBad.map((one) => expect.objectContaining(one)) },
    });
    expect((await e2e.untilApplied(good, 30)).lifetimeCount).toBe(30);

    await redis.del(keyOf(model, 'bad'));
    await e2e.client.recordInteractions(ofGood.slice(30));
    await e2e.untilApplied(good, 50);
    expect(await inspection.retry()).toBe(1);
    await e2e.expectRows(await e2e.untilApplied('bad', 30), ofBad);
    await e2e.expectRows(await e2e.untilApplied(good, 50), ofGood);
  });
});

it('applies a job from the wrong partition to its user', async () => {
  await withQueue(e2e, async ({ redis }) => {
    const queues = openQueues(redis, 'ckv', PARTITIONS);
    const interactions = interactionsOf('astray', PARTITIONS).map((one) => ({ action: '', features: {}, ...one }));
    await Promise.all(queues.map((queue, i) => queue.add('record', recordJobData([interactions[i] as never]))));
    expect((await e2e.untilApplied('astray', PARTITIONS)).positionCount).toBe(PARTITIONS);
    await Promise.all(queues.map((queue) => queue.close()));
  });
});
