// Batches are applied to a real queue. The fixture's writer replaces the records.
import { CkvError, type Interaction, RECENT_EVENT_RING, type Reason } from '@collectivekv/domain';
import { type PartitionQueue, recordJobData } from '@collectivekv/update-queue';
import { describe, expect, it } from 'vitest';
import {
  addJob,
  bench,
  counts,
  enqueue,
  FENCE_END_MS,
  failedJobs,
  interactionOf,
  logged,
  samples,
  take,
  transient,
  u,
  useJobBatches,
  v,
  w,
  work,
} from './job-batches.fixture.js';

useJobBatches();

describe('apply', () => {
  it('appends the queued interactions, and completes their jobs', async () => {
    await enqueue([u, 'a'], [w, 'b']);
    await enqueue([u, 'c']);
    await work();
    expect(bench.calls.slice(1)).toEqual([`append ${u}:a,c ${w}:b`]);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
    expect(await samples('ckv_jobs_total')).toEqual({ done: 2, failed: 0 });
    expect(await samples('ckv_interactions_total')).toEqual({ appended: 3, duplicate: 1 });
  });

  it('logs the interactions of each partition in the order in which they are applied', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    await enqueue([u, 'c']);
    await work();
    await enqueue([u, 'd']);
    await work();
    expect([await logged(0), await logged(1)]).toEqual([`${u}:a ${u}:c ${u}:d`, `${v}:b`]);
  });

  it('logs a wave that is repeated twice, and no other: its job is completed after it is logged', async () => {
    const events = Array.from({ length: 3 * RECENT_EVENT_RING }, (_, i) => [u, `e${i}`] as [string, string]);
    await enqueue(...events);
    const { remember } = bench.queues[0] as PartitionQueue;
    let count = 0;
    const failing: PartitionQueue['remember'] = async (...args) => {
      if (++count === 2) throw transient();
      return remember(...args);
    };
    Object.assign(bench.queues[0] as PartitionQueue, { remember: failing });
    await expect(work()).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    await bench.queues[0]?.recover();
    await work();
    const all = events.map(([userId, eventId]) => `${userId}:${eventId}`);
    const [first, second, third] = [0, 1, 2].map((n) => all.slice(n * RECENT_EVENT_RING, (n + 1) * RECENT_EVENT_RING));
    expect(await logged()).toBe([first, second, second, third].flat().join(' '));
  });

  it('works on partitions with different numbers of waves', async () => {
    const events = Array.from({ length: RECENT_EVENT_RING + 1 }, (_, i) => [v, `e${i}`] as [string, string]);
    await enqueue([u, 'a'], ...events);
    await work();
    expect(bench.calls.length).toBe(3);
    expect(bench.calls.at(-1)).toBe(`append ${v}:e${RECENT_EVENT_RING}`);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
  });

  it('counts the time from a queued job to its record, and none below zero', async () => {
    const data = recordJobData([interactionOf(u, 'a')]);
    await addJob('record', data, { timestamp: Date.now() - 3_600_000 });
    await addJob('record', data, { timestamp: Date.now() + 3_600_000 });
    await work();
    const histogram = await bench.metrics.registry.getSingleMetricAsString('ckv_queued_to_servable_seconds');
    const sum = Number(/_sum\S* (\S+)$/m.exec(histogram)?.[1]);
    expect(sum).toBeGreaterThanOrEqual(3_600);
    expect(sum).toBeLessThan(7_200);
    expect(histogram).toMatch(/_count\S* 2$/m);
  });

  it('fences an append at the end of the lease that ends first', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    await work();
    expect(bench.validUntil).toEqual([bench.fences[0]?.validUntilMs()]);
    expect(bench.fences[0]?.validUntilMs()).toBeLessThan(bench.fences[1]?.validUntilMs() ?? 0);
    expect(bench.validUntil[0]).toBeLessThanOrEqual(FENCE_END_MS);
  });

  it('reads the fence at each call: a renewal moves it on', async () => {
    bench.failures = [{ of: 'append', error: transient() }];
    bench.onCall = (call) => {
      if (call.startsWith('append'))
        bench.fences[0]?.renew({ endsMs: FENCE_END_MS + 9_000, heldUntilMs: Infinity, endedByMs: 0 });
    };
    await enqueue([u, 'a']);
    await work();
    expect((bench.validUntil[1] ?? 0) - (bench.validUntil[0] ?? 0)).toBe(9_000);
  });

  it.each<Reason>([
    'dependency_unavailable',
    'draining',
    'overloaded',
    'conflict',
    'deadline',
    'cancelled',
    'bundle_not_loaded',
  ])('appends again after %s, and sets no job aside', async (reason) => {
    bench.failures = [1, 2].map(() => ({ of: 'append', error: transient(reason) }));
    await enqueue([u, 'a']);
    await work();
    expect(bench.calls.slice(1)).toEqual([1, 2, 3].map(() => `append ${u}:a`));
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
    expect(await samples('ckv_batch_retries_total')).toEqual({ [reason]: 2 });
    expect(await samples('ckv_jobs_total')).toEqual({ done: 1, failed: 0 });
  });

  it('ends its retries when the updater stops', async () => {
    bench.failures = Array.from({ length: 9 }, () => ({ of: 'append', error: transient() }));
    await enqueue([u, 'a']);
    bench.onCall = () => bench.stopping.abort();
    await expect(work()).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    expect(bench.calls.slice(1)).toEqual([`append ${u}:a`]);
    expect(await counts()).toMatchObject({ active: 1, failed: 0 });
  });

  it('appends nothing after a partition was lost', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    const batch = await bench.batches.prepare(await take());
    bench.fences[1]?.end();
    await expect(bench.batches.apply(batch)).rejects.toMatchObject({ reason: 'conflict' });
    expect(bench.calls).toEqual(['encode a b']);
    expect(await counts()).toMatchObject({ active: 2 });
  });

  it('ends its retries when a partition is lost', async () => {
    bench.failures = Array.from({ length: 9 }, () => ({ of: 'append', error: transient() }));
    await enqueue([u, 'a']);
    bench.onCall = (call) => {
      if (call.startsWith('append')) bench.fences[0]?.end();
    };
    await expect(work()).rejects.toMatchObject({ reason: 'conflict', message: expect.stringContaining('partition 0') });
    expect(bench.calls.slice(1)).toEqual([`append ${u}:a`]);
  });

  it('completes no job of a partition that was lost during the append, and those of the others', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    bench.onCall = (call) => {
      if (call.startsWith('append')) bench.fences[0]?.end();
    };
    await expect(work()).rejects.toMatchObject({ reason: 'conflict' });
    const taken = await Promise.all(bench.queues.map((_, i) => bench.client.llen(`{ckv}:interactions-${i}:active`)));
    expect(taken).toEqual([1, 0]);
  });

  describe('with a user whose append is refused', () => {
    const refused = { of: 'append', error: new CkvError('encoding_mismatch', 'of another encoding') };

    it("sets that user's interactions aside, not those of others in the same job", async () => {
      bench.failures = [{ ...refused, user: u }];
      await enqueue([u, 'a'], [w, 'b'], [u, 'c']);
      await enqueue([w, 'd']);
      await work();
      expect(bench.calls.slice(1)).toEqual([`append ${u}:a,c ${w}:b,d`, `append ${u}:a,c`, `append ${w}:b,d`]);
      expect(await logged()).toBe(`${w}:b ${w}:d`);
      const [failed, ...others] = await failedJobs();
      expect(others).toEqual([]);
      expect(failed).toMatchObject({
        problem: 'encoding_mismatch: of another encoding',
        payload: { version: 1, interactions: [{ eventId: 'a' }, { eventId: 'c' }] },
      });
      expect(await samples('ckv_jobs_total')).toEqual({ done: 1, failed: 1 });
    });

    it('keeps the later interactions of that user in the job out of the records', async () => {
      bench.failures = [{ ...refused, user: u }];
      const many = Array.from({ length: RECENT_EVENT_RING + 1 }, (_, i) => [u, `e${i}`] as [string, string]);
      await enqueue(...many, [w, 'b']);
      await work();
      const [failed] = await failedJobs();
      const { interactions = [] } = (failed?.payload ?? {}) as { interactions?: Interaction[] };
      expect(interactions.map(({ eventId }) => eventId)).toEqual(many.map(([, eventId]) => eventId));
      const first = many.slice(0, -1).map(([, eventId]) => eventId);
      expect(bench.calls.slice(1)).toEqual([`append ${u}:${first} ${w}:b`, `append ${u}:${first}`, `append ${w}:b`]);
    });

    it('appends a user again after a transient error', async () => {
      await enqueue([u, 'a'], [w, 'b']);
      bench.failures = [refused, { of: 'append', error: transient() }];
      await work();
      expect(bench.calls.slice(1)).toEqual([`append ${u}:a ${w}:b`, `append ${u}:a`, `append ${u}:a`, `append ${w}:b`]);
      expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
    });

    it('sets nothing aside if the updater stops before the user is found', async () => {
      await enqueue([u, 'a'], [w, 'b']);
      bench.failures = [refused, { of: 'append', error: transient() }];
      bench.onCall = (call) => {
        if (call.startsWith('append')) bench.stopping.abort();
      };
      await expect(work()).rejects.toMatchObject({ reason: 'dependency_unavailable' });
      expect(await counts()).toEqual({ waiting: 0, active: 1, failed: 0 });
    });

    it('sets nothing aside if the partition is lost before the user is found', async () => {
      await enqueue([u, 'a'], [w, 'b']);
      bench.failures = [refused];
      bench.onCall = (call) => {
        if (call.startsWith('append')) bench.fences[0]?.end();
      };
      await expect(work()).rejects.toMatchObject({ reason: 'conflict' });
      expect(await counts()).toEqual({ waiting: 0, active: 1, failed: 0 });
    });
  });

  it('remembers the waves of a large job, so that the next consumer continues behind them', async () => {
    const events = Array.from({ length: 3 * RECENT_EVENT_RING }, (_, i) => [u, `e${i}`] as [string, string]);
    await enqueue(...events);
    bench.onCall = (call) => {
      if (call.includes(`e${2 * RECENT_EVENT_RING}`) && call.startsWith('append')) bench.fences[0]?.end();
    };
    await expect(work()).rejects.toMatchObject({ reason: 'conflict' });
    await bench.queues[0]?.recover();
    const [again] = (await bench.queues[0]?.take(1)) ?? [];
    expect(again?.progress).toBe(2);
  });

  it('deletes a position, and completes the removal', async () => {
    await bench.producer.forget(interactionOf(u, 'a'));
    await bench.producer.forget(interactionOf(u, 'unknown'));
    await work();
    expect(bench.calls.filter((call) => call.startsWith('forget'))).toEqual(['forget a', 'forget unknown']);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
    expect(await samples('ckv_interactions_total')).toEqual({ forgotten: 1 });
    expect(await samples('ckv_jobs_total')).toMatchObject({ done: 2 });
  });

  it('deletes a position behind the interactions that were queued before, and before those queued after', async () => {
    await enqueue([u, 'a']);
    await bench.producer.forget(interactionOf(u, 'a'));
    await enqueue([u, 'b']);
    await work();
    expect(bench.calls.filter((call) => !call.startsWith('encode'))).toEqual([
      `append ${u}:a`,
      'forget a',
      `append ${u}:b`,
    ]);
  });

  it('deletes again after a transient error', async () => {
    bench.failures = [{ of: 'forget', error: transient('overloaded') }];
    await bench.producer.forget(interactionOf(u, 'a'));
    await work();
    expect(bench.calls.slice(1)).toEqual(['forget a', 'forget a']);
    expect(bench.validUntil).toEqual([bench.fences[0]?.validUntilMs(), bench.fences[0]?.validUntilMs()]);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
  });

  it('sets a removal aside that can never succeed', async () => {
    bench.failures = [{ of: 'forget', error: new CkvError('record_corrupt', 'broken') }];
    await bench.producer.forget(interactionOf(u, 'a'));
    await work();
    expect(await failedJobs()).toMatchObject([{ name: 'forget', problem: 'record_corrupt: broken' }]);
  });

  it('keeps a removal whose partition was lost', async () => {
    await bench.producer.forget(interactionOf(u, 'a'));
    const batch = await bench.batches.prepare(await take());
    bench.fences[0]?.end();
    await expect(bench.batches.apply(batch)).rejects.toMatchObject({ reason: 'conflict' });
    expect(bench.calls).toEqual(['encode']);
    expect(await counts()).toMatchObject({ active: 1, failed: 0 });
  });
});
