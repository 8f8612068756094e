import { expect, it } from 'vitest';
import { oldestWaitingMs } from './oldest-waiting.js';
import { interactionOf, PARTITION_COUNT, useQueue } from './queue.fixture.js';

const queue = useQueue();
const oldest = () => oldestWaitingMs(queue.service(), 'ckv', PARTITION_COUNT);

it('tells how long the oldest job of all partitions has waited', async () => {
  expect(await oldest()).toBe(0);
  const producer = queue.produce();
  await producer.enqueue([{ ...interactionOf(1), userId: 'somebody else' }]);
  await producer.enqueue([interactionOf(1)]);
  await producer.enqueue([interactionOf(2)]);
  const jobs = await queue.client().keys('*:record-*');
  const jobIds = jobs.filter((key) => !key.includes(':added'));
  for (const key of jobIds) await queue.client().hincrby(key, 'timestamp', -10_000);
  const first = await queue.client().lindex(queue.key('wait'), -1);
  await queue.client().hincrby(queue.key(String(first)), 'timestamp', -10_000);
  const ageMs = await oldest();
  expect(ageMs).toBeGreaterThanOrEqual(20_000);
  const partition = await queue.consume();
  const taken = await partition.take(1);
  expect(taken).toHaveLength(1);
  expect(await oldest()).toBeLessThan(ageMs);
  expect(await oldest()).toBeGreaterThanOrEqual(10_000);
});
