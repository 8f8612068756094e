import { expect, it } from 'vitest';
import { watchArrivals } from './arrivals.js';
import { interactionOf, PARTITION, PARTITION_COUNT, useQueue } from './queue.fixture.js';

const queue = useQueue();
const partitions = Array.from({ length: PARTITION_COUNT }, (_, partition) => partition);

it('waits until a job comes to one of the partitions', async () => {
  const arrivals = watchArrivals(await queue.connect(), 'ckv');
  let came = false;
  const waiting = arrivals.wait(partitions, 600_000).then(() => {
    came = true;
  });
  // Longer than a wait that has failed, or that watches nothing.
  for (let i = 0; i < 3; i++) await arrivals.wait([], 600_000);
  expect(came).toBe(false);
  await queue.produce().enqueue([interactionOf(1)]);
  await waiting;
});

it('stops waiting after its timeout', async () => {
  const arrivals = watchArrivals(await queue.connect(), 'ckv');
  await arrivals.wait([PARTITION], 20);
});

it('does not see a job of another partition', async () => {
  const arrivals = watchArrivals(await queue.connect(), 'ckv');
  await queue.produce().enqueue([interactionOf(1)]);
  await arrivals.wait([(PARTITION + 1) % PARTITION_COUNT], 20);
  expect(await queue.client().zcard(queue.key('marker'))).toBe(1);
  await arrivals.wait(partitions, 600_000);
  expect(await queue.client().zcard(queue.key('marker'))).toBe(0);
});
