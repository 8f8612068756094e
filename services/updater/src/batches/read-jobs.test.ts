// Jobs of other partitions, on a real queue.
import { CkvError } from '@collectivekv/domain';
import { recordJobData } from '@collectivekv/update-queue';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  addJob,
  bench,
  counts,
  createBatches,
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

describe('with a job of another partition', () => {
  beforeEach(async () => {
    await addJob('record', recordJobData([interactionOf(v, 'astray')]));
    await enqueue([u, 'a']);
  });

  it('forwards the job, and completes it in its own partition after that', async () => {
    const active: number[] = [];
    bench.batches = createBatches({
      async forward(...forwarded) {
        active.push((await counts()).active);
        await bench.producer.forward(...forwarded);
      },
    });
    await bench.batches.prepare(await take());
    expect(active).toEqual([2]); // not completed yet
    expect(bench.calls).toEqual(['encode a']);
    expect(await counts()).toMatchObject({ active: 1, waiting: 1 });
    expect(await samples('ckv_jobs_total')).toEqual({ forwarded: 1, failed: 0 });
    await work();
    expect(bench.calls.at(-1)).toBe(`append ${v}:astray`);
  });

  it('forwards the job in the trace that queued it', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await addJob('record', recordJobData([interactionOf(v, 'traced')], traceparent));
    const forwarded: (string | undefined)[] = [];
    bench.batches = createBatches({ forward: async (...[, , of]) => void forwarded.push(of) });
    await bench.batches.prepare(await take());
    expect(forwarded).toEqual(['', traceparent]);
  });

  it('forwards the job once, though the former consumer forwarded it and stalled', async () => {
    const stalled = createBatches({
      async forward(...forwarded) {
        await bench.producer.forward(...forwarded);
        throw transient();
      },
    });
    await expect(take().then(stalled.prepare)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    await work(); // applies the forwarded job
    for (const queue of bench.queues) await queue.recover();
    await work(); // forwards the job again
    await work();
    expect(bench.calls.filter((call) => call === `append ${v}:astray`).length).toBe(1);
    expect(await counts()).toEqual({ active: 0, waiting: 0, failed: 0 });
  });

  it('keeps the job if it cannot be forwarded now', async () => {
    bench.batches = createBatches({ forward: () => Promise.reject(transient()) });
    await expect(take().then(bench.batches.prepare)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    expect(await counts()).toEqual({ active: 2, waiting: 0, failed: 0 });
  });

  it('sets the job aside if it can never be forwarded', async () => {
    bench.batches = createBatches({ forward: () => Promise.reject(new CkvError('bug', 'broken')) });
    await bench.batches.prepare(await take());
    expect(await failedJobs()).toMatchObject([{ problem: 'bug: broken' }]);
  });
});

it('forwards a job of which one user belongs to another partition', async () => {
  await addJob('record', recordJobData([interactionOf(u, 'own'), interactionOf(v, 'astray')]));
  await bench.batches.prepare(await take());
  expect(await counts()).toMatchObject({ active: 0, waiting: 2 });
  await work();
  expect(bench.calls.at(-1)).toBe(`append ${u}:own ${v}:astray`);
});

it('forwards a removal of another partition', async () => {
  await addJob('forget', { version: 1, interaction: { eventId: 'x', userId: v } });
  await bench.batches.prepare(await take());
  await work();
  expect(bench.calls.at(-1)).toBe('forget x');
});
