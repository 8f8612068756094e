// Batches are prepared from a real queue. The fixture's writer replaces the encode graph.
import { describe, expect, it } from 'vitest';
import {
  addJob,
  bench,
  ENCODED,
  enqueue,
  failedJobs,
  interactionOf,
  samples,
  take,
  transient,
  u,
  useJobBatches,
  v,
  work,
} from './job-batches.fixture.js';

useJobBatches();

describe('prepare', () => {
  it('encodes the interactions of all partitions together', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    await enqueue([u, 'c']);
    const batch = await bench.batches.prepare(await take());
    expect(bench.calls).toEqual(['encode a c b']);
    expect(batch.encoded).toBe(ENCODED);
    expect(batch.works.map(({ fence, queue }) => [fence, queue])).toEqual(
      [0, 1].map((i) => [bench.fences[i], bench.queues[i]]),
    );
    expect(await samples('ckv_unknown_total')).toEqual({ item: 2, action: 1 });
    const histogram = await bench.metrics.registry.getSingleMetricAsString('ckv_batch_interactions');
    expect(histogram).toMatch(/ckv_batch_interactions_sum\S* 3$/m);
  });

  it('encodes nothing for a removal', async () => {
    await bench.producer.forget(interactionOf(u, 'a'));
    await bench.batches.prepare(await take());
    expect(bench.calls).toEqual(['encode']);
  });

  it('sets a job aside that is not an interaction job, and encodes the others', async () => {
    await addJob('record', { version: 1, interactions: [{ eventId: 'p', userId: u }] });
    await enqueue([u, 'a']);
    await work();
    expect(bench.calls).toEqual(['encode a', `append ${u}:a`]);
    expect(await failedJobs()).toMatchObject([{ problem: expect.stringMatching(/^invalid_request: data\.inter/) }]);
    expect(await samples('ckv_jobs_total')).toEqual({ failed: 1, done: 1 });
  });

  it('encodes again after a transient error', async () => {
    bench.failures = [{ of: 'encode', error: transient('bundle_not_loaded') }];
    await enqueue([u, 'a']);
    await work();
    expect(bench.calls).toEqual(['encode a', 'encode a', `append ${u}:a`]);
    expect(await samples('ckv_batch_retries_total')).toEqual({ bundle_not_loaded: 1 });
  });

  it('encodes nothing after a partition was lost', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    const taken = await take();
    bench.fences[1]?.end();
    await expect(bench.batches.prepare(taken)).rejects.toMatchObject({ reason: 'conflict' });
    expect(bench.calls).toEqual([]);
  });
});
