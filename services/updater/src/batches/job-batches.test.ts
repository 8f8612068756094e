// Batches of jobs on a real queue. The test's own writer replaces the encode graph and the records.
import { CkvError, type Interaction, partitionOf, RECENT_EVENT_RING, type Reason } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createLogger, createMetrics, type Metrics } from '@collectivekv/service-kit';
import {
  createInteractionProducer,
  type FailedJob,
  type InteractionProducer,
  inspectQueue,
  openLeaseTable,
  openPartitionQueue,
  openQueues,
  openReceipts,
  type PartitionQueue,
  type PartitionTerm,
  recordJobData,
} from '@collectivekv/update-queue';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createUpdaterMetrics } from '../metrics.js';
import { createFence, type RenewableFence } from '../partitions/fence.js';
import type { EncodedInteractions, RecordWriter } from '../records/record-writer.js';
import { createJobBatches, type JobBatches, type TakenJobs } from './job-batches.js';
import { createLateCalls } from './late-calls.js';

const PARTITION_COUNT = 2;
const FENCE_END_MS = 1_700_000_000_000;
const ENCODED: EncodedInteractions = { bundles: [], unknownItemCount: 2, unknownActionCount: 1 };

let redis: PrivateRedis;
let client: RedisClient;
beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});

let producer: InteractionProducer;
let terms: readonly PartitionTerm[];
let queues: PartitionQueue[];
let fences: RenewableFence[];
let metrics: Metrics;
let stopping: AbortController;
let batches: JobBatches;
/** The writer's calls: `encode e1 e2`, `append u:e1 v:e2`, `forget e1`. */
let calls: string[];
/** Failures of the writer's next calls, by the call's first word; with a user, of every call for that user. */
let failures: { readonly of: string; readonly error: CkvError; readonly user?: string }[];
/** Runs at the beginning of each of the writer's calls. */
let onCall: (call: string) => void;
let validUntil: number[];

beforeEach(async () => {
  await client.flushall();
  producer = createInteractionProducer({
    client,
    keyPrefix: 'ckv',
    partitionCount: PARTITION_COUNT,
    maxWaitingJobs: 99,
  });
  ({ terms } = await openLeaseTable(client, 'ckv', PARTITION_COUNT).hold('one', 60_000));
  queues = terms.map((term) => openPartitionQueue({ client, keyPrefix: 'ckv', term, token: 'one' }));
  for (const queue of queues) await queue.recover();
  fences = terms.map((term) => {
    const fence = createFence(term);
    fence.renew({ endsMs: FENCE_END_MS + term.partition, heldUntilMs: Number.POSITIVE_INFINITY, endedByMs: 0 });
    return fence;
  });
  stopping = new AbortController();
  calls = [];
  failures = [];
  validUntil = [];
  onCall = () => undefined;
  batches = createBatches(producer);
});
afterEach(() => Promise.all([...queues.map((queue) => queue.close()), producer.close()]));

function createBatches(forwarding: Pick<InteractionProducer, 'forward'>): JobBatches {
  metrics = createMetrics('test');
  return createJobBatches({
    producer: forwarding,
    partitionCount: PARTITION_COUNT,
    writer,
    receipts: openReceipts({ client, keyPrefix: 'ckv', ttlS: 600 }),
    lateCalls: createLateCalls(),
    metrics: createUpdaterMetrics(metrics),
    log: createLogger('test', 'silent'),
    signal: stopping.signal,
  });
}

function called(name: string, rest: readonly string[]): void {
  const call = [name, ...rest].join(' ');
  calls.push(call);
  onCall(call);
  const failure = failures.find(
    ({ of, user }) => of === name && (!user || rest.some((one) => one.startsWith(`${user}:`))),
  );
  if (!failure) return;
  if (!failure.user) failures.splice(failures.indexOf(failure), 1);
  throw failure.error;
}

const writer: RecordWriter = {
  async encode(interactions) {
    called(
      'encode',
      interactions.map(({ eventId }) => eventId),
    );
    return ENCODED;
  },
  async append(byUser, _, validUntilMs) {
    validUntil.push(validUntilMs());
    called(
      'append',
      [...byUser].map(([userId, list]) => `${userId}:${list.map(({ eventId }) => eventId)}`),
    );
    return { appliedCount: [...byUser.values()].flat().length, duplicateCount: 1 };
  },
  async forget({ eventId }, validUntilMs) {
    validUntil.push(validUntilMs());
    called('forget', [eventId]);
    const positionCount = eventId === 'unknown' ? 0 : 1;
    return [{ bundleId: 'b', recordCount: 0, quarantinedCount: 0, positionCount, remainder: 'nothing' }];
  },
  async deleteUser(userId, validUntilMs) {
    validUntil.push(validUntilMs());
    called('delete', [userId]);
    return [];
  },
};

/** A user of each partition. */
const [u, v] = [0, 1].map((partition) => {
  const ids = Array.from({ length: 99 }, (_, i) => `user-${i}`);
  return ids.find((userId) => partitionOf(userId, PARTITION_COUNT) === partition) ?? '';
}) as [string, string];
const w = Array.from({ length: 99 }, (_, i) => `other-${i}`).find((id) => partitionOf(id, PARTITION_COUNT) === 0) ?? '';

const interactionOf = (userId: string, eventId: string): Interaction => ({
  eventId,
  userId,
  itemId: 'i',
  timestampMs: 1_700_000_000_000,
  action: '',
  features: {},
});
const enqueue = (...interactions: [userId: string, eventId: string][]) =>
  producer.enqueue(interactions.map(([userId, eventId]) => interactionOf(userId, eventId)));

async function take(): Promise<TakenJobs[]> {
  const taken = queues.map(async (queue, i) => ({
    queue,
    fence: fences[i] as RenewableFence,
    jobs: await queue.take(9),
  }));
  return (await Promise.all(taken)).filter(({ jobs }) => jobs.length > 0);
}
const work = async () => batches.apply(await batches.prepare(await take()));

async function counts(): Promise<{ waiting: number; active: number; failed: number }> {
  const inspection = inspectQueue({ client, keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
  const all = await inspection.counts();
  await inspection.close();
  const sum = (name: 'waiting' | 'active' | 'failed') => all.reduce((total, one) => total + one[name], 0);
  return { waiting: sum('waiting'), active: sum('active'), failed: sum('failed') };
}
async function failedJobs(): Promise<FailedJob[]> {
  const inspection = inspectQueue({ client, keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
  const failed = await inspection.failed(9);
  await inspection.close();
  return failed;
}
/** The samples of a metric by its label's value; '' without a label. */
async function samples(name: string): Promise<Record<string, number>> {
  const text = await metrics.registry.getSingleMetricAsString(name);
  const lines = text.split('\n').flatMap((line) => {
    const [, labels = '', value = ''] = /^\w+(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    const label = /(?:outcome|kind|reason)="(\w+)"/.exec(labels)?.[1] ?? '';
    return value === '' ? [] : [[label, Number(value)] as const];
  });
  return Object.fromEntries(lines);
}
const transient = (reason: Reason = 'dependency_unavailable') => new CkvError(reason, 'later');

describe('prepare', () => {
  it('encodes the interactions of all partitions together', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    await enqueue([u, 'c']);
    const batch = await batches.prepare(await take());
    expect(calls).toEqual(['encode a c b']);
    expect(batch.encoded).toBe(ENCODED);
    expect(batch.works.map(({ fence, queue }) => [fence, queue])).toEqual([0, 1].map((i) => [fences[i], queues[i]]));
    expect(await samples('ckv_unknown_total')).toEqual({ item: 2, action: 1 });
    const histogram = await metrics.registry.getSingleMetricAsString('ckv_batch_interactions');
    expect(histogram).toMatch(/ckv_batch_interactions_sum\S* 3$/m);
  });

  it('encodes nothing for a removal', async () => {
    await producer.forget(interactionOf(u, 'a'));
    await batches.prepare(await take());
    expect(calls).toEqual(['encode']);
  });

  it('sets a job aside that is not an interaction job, and encodes the others', async () => {
    const [queue] = openQueues(client, 'ckv', 1);
    await queue?.add('record', { version: 1, interactions: [{ eventId: 'p', userId: u }] });
    await queue?.close();
    await enqueue([u, 'a']);
    await work();
    expect(calls).toEqual(['encode a', `append ${u}:a`]);
    expect(await failedJobs()).toMatchObject([{ problem: expect.stringMatching(/^invalid_request: data\.inter/) }]);
    expect(await samples('ckv_jobs_total')).toEqual({ failed: 1, done: 1 });
  });

  describe('with a job of another partition', () => {
    beforeEach(async () => {
      const [first] = openQueues(client, 'ckv', 1);
      await first?.add('record', recordJobData([interactionOf(v, 'astray')]));
      await first?.close();
      await enqueue([u, 'a']);
    });

    it('forwards the job, and completes it in its own partition after that', async () => {
      const active: number[] = [];
      batches = createBatches({
        async forward(...forwarded) {
          active.push((await counts()).active);
          await producer.forward(...forwarded);
        },
      });
      await batches.prepare(await take());
      expect(active).toEqual([2]); // not completed yet
      expect(calls).toEqual(['encode a']);
      expect(await counts()).toMatchObject({ active: 1, waiting: 1 });
      expect(await samples('ckv_jobs_total')).toEqual({ forwarded: 1 });
      await work();
      expect(calls.at(-1)).toBe(`append ${v}:astray`);
    });

    it('forwards the job once, though the former consumer forwarded it and stalled', async () => {
      const stalled = createBatches({
        async forward(...forwarded) {
          await producer.forward(...forwarded);
          throw transient();
        },
      });
      await expect(take().then(stalled.prepare)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
      await work(); // applies the forwarded job
      for (const queue of queues) await queue.recover();
      await work(); // forwards the job again
      await work();
      expect(calls.filter((call) => call === `append ${v}:astray`).length).toBe(1);
      expect(await counts()).toEqual({ active: 0, waiting: 0, failed: 0 });
    });

    it('keeps the job if it cannot be forwarded now', async () => {
      batches = createBatches({ forward: () => Promise.reject(transient()) });
      await expect(take().then(batches.prepare)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
      expect(await counts()).toEqual({ active: 2, waiting: 0, failed: 0 });
    });

    it('sets the job aside if it can never be forwarded', async () => {
      batches = createBatches({ forward: () => Promise.reject(new CkvError('bug', 'broken')) });
      await batches.prepare(await take());
      expect(await failedJobs()).toMatchObject([{ problem: 'bug: broken' }]);
    });
  });

  it('forwards a job of which one user belongs to another partition', async () => {
    const [first] = openQueues(client, 'ckv', 1);
    await first?.add('record', recordJobData([interactionOf(u, 'own'), interactionOf(v, 'astray')]));
    await first?.close();
    await batches.prepare(await take());
    expect(await counts()).toMatchObject({ active: 0, waiting: 2 });
    await work();
    expect(calls.at(-1)).toBe(`append ${u}:own ${v}:astray`);
  });

  it('forwards a removal of another partition', async () => {
    const [first] = openQueues(client, 'ckv', 1);
    await first?.add('forget', { version: 1, interaction: { eventId: 'x', userId: v } });
    await first?.close();
    await batches.prepare(await take());
    await work();
    expect(calls.at(-1)).toBe('forget x');
  });

  it('encodes again after a transient error', async () => {
    failures = [{ of: 'encode', error: transient('bundle_not_loaded') }];
    await enqueue([u, 'a']);
    await work();
    expect(calls).toEqual(['encode a', 'encode a', `append ${u}:a`]);
    expect(await samples('ckv_batch_retries_total')).toEqual({ bundle_not_loaded: 1 });
  });

  it('encodes nothing after a partition was lost', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    const taken = await take();
    fences[1]?.end();
    await expect(batches.prepare(taken)).rejects.toMatchObject({ reason: 'conflict' });
    expect(calls).toEqual([]);
  });
});

describe('apply', () => {
  it('appends the queued interactions, and completes their jobs', async () => {
    await enqueue([u, 'a'], [w, 'b']);
    await enqueue([u, 'c']);
    await work();
    expect(calls.slice(1)).toEqual([`append ${u}:a,c ${w}:b`]);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
    expect(await samples('ckv_jobs_total')).toEqual({ done: 2 });
    expect(await samples('ckv_interactions_total')).toEqual({ appended: 3, duplicate: 1 });
  });

  it('works on partitions with different numbers of waves', async () => {
    const events = Array.from({ length: RECENT_EVENT_RING + 1 }, (_, i) => [v, `e${i}`] as [string, string]);
    await enqueue([u, 'a'], ...events);
    await work();
    expect(calls.length).toBe(3);
    expect(calls.at(-1)).toBe(`append ${v}:e${RECENT_EVENT_RING}`);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
  });

  it('counts the time from a queued job to its record, and none below zero', async () => {
    const [queue] = openQueues(client, 'ckv', 1);
    const data = recordJobData([interactionOf(u, 'a')]);
    await queue?.add('record', data, { timestamp: Date.now() - 3_600_000 });
    await queue?.add('record', data, { timestamp: Date.now() + 3_600_000 });
    await queue?.close();
    await work();
    const histogram = await metrics.registry.getSingleMetricAsString('ckv_queued_to_servable_seconds');
    const sum = Number(/_sum\S* (\S+)$/m.exec(histogram)?.[1]);
    expect(sum).toBeGreaterThanOrEqual(3_600);
    expect(sum).toBeLessThan(7_200);
    expect(histogram).toMatch(/_count\S* 2$/m);
  });

  it('fences an append at the end of the lease that ends first', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    await work();
    expect(validUntil).toEqual([fences[0]?.validUntilMs()]);
    expect(fences[0]?.validUntilMs()).toBeLessThan(fences[1]?.validUntilMs() ?? 0);
    expect(validUntil[0]).toBeLessThanOrEqual(FENCE_END_MS);
  });

  it('reads the fence at each call: a renewal moves it on', async () => {
    failures = [{ of: 'append', error: transient() }];
    onCall = (call) => {
      if (call.startsWith('append'))
        fences[0]?.renew({ endsMs: FENCE_END_MS + 9_000, heldUntilMs: Infinity, endedByMs: 0 });
    };
    await enqueue([u, 'a']);
    await work();
    expect((validUntil[1] ?? 0) - (validUntil[0] ?? 0)).toBe(9_000);
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
    failures = [1, 2].map(() => ({ of: 'append', error: transient(reason) }));
    await enqueue([u, 'a']);
    await work();
    expect(calls.slice(1)).toEqual([1, 2, 3].map(() => `append ${u}:a`));
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
    expect(await samples('ckv_batch_retries_total')).toEqual({ [reason]: 2 });
    expect(await samples('ckv_jobs_total')).toEqual({ done: 1 });
  });

  it('ends its retries when the updater stops', async () => {
    failures = Array.from({ length: 9 }, () => ({ of: 'append', error: transient() }));
    await enqueue([u, 'a']);
    onCall = () => stopping.abort();
    await expect(work()).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    expect(calls.slice(1)).toEqual([`append ${u}:a`]);
    expect(await counts()).toMatchObject({ active: 1, failed: 0 });
  });

  it('appends nothing after a partition was lost', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    const batch = await batches.prepare(await take());
    fences[1]?.end();
    await expect(batches.apply(batch)).rejects.toMatchObject({ reason: 'conflict' });
    expect(calls).toEqual(['encode a b']);
    expect(await counts()).toMatchObject({ active: 2 });
  });

  it('ends its retries when a partition is lost', async () => {
    failures = Array.from({ length: 9 }, () => ({ of: 'append', error: transient() }));
    await enqueue([u, 'a']);
    onCall = (call) => {
      if (call.startsWith('append')) fences[0]?.end();
    };
    await expect(work()).rejects.toMatchObject({ reason: 'conflict', message: expect.stringContaining('partition 0') });
    expect(calls.slice(1)).toEqual([`append ${u}:a`]);
  });

  it('completes no job of a partition that was lost during the append, and those of the others', async () => {
    await enqueue([u, 'a'], [v, 'b']);
    onCall = (call) => {
      if (call.startsWith('append')) fences[0]?.end();
    };
    await expect(work()).rejects.toMatchObject({ reason: 'conflict' });
    const taken = await Promise.all(queues.map((_, i) => client.llen(`{ckv}:interactions-${i}:active`)));
    expect(taken).toEqual([1, 0]);
  });

  describe('with a user whose append is refused', () => {
    const refused = { of: 'append', error: new CkvError('bundle_mismatch', 'of another bundle') };

    it("sets that user's interactions aside, not those of others in the same job", async () => {
      failures = [{ ...refused, user: u }];
      await enqueue([u, 'a'], [w, 'b'], [u, 'c']);
      await enqueue([w, 'd']);
      await work();
      expect(calls.slice(1)).toEqual([`append ${u}:a,c ${w}:b,d`, `append ${u}:a,c`, `append ${w}:b,d`]);
      const [failed, ...others] = await failedJobs();
      expect(others).toEqual([]);
      expect(failed).toMatchObject({
        problem: 'bundle_mismatch: of another bundle',
        payload: { version: 1, interactions: [{ eventId: 'a' }, { eventId: 'c' }] },
      });
      expect(await samples('ckv_jobs_total')).toEqual({ done: 1, failed: 1 });
    });

    it('keeps the later interactions of that user in the job out of the records', async () => {
      failures = [{ ...refused, user: u }];
      const many = Array.from({ length: RECENT_EVENT_RING + 1 }, (_, i) => [u, `e${i}`] as [string, string]);
      await enqueue(...many, [w, 'b']);
      await work();
      const [failed] = await failedJobs();
      const { interactions = [] } = (failed?.payload ?? {}) as { interactions?: Interaction[] };
      expect(interactions.map(({ eventId }) => eventId)).toEqual(many.map(([, eventId]) => eventId));
      const first = many.slice(0, -1).map(([, eventId]) => eventId);
      expect(calls.slice(1)).toEqual([`append ${u}:${first} ${w}:b`, `append ${u}:${first}`, `append ${w}:b`]);
    });

    it('appends a user again after a transient error', async () => {
      await enqueue([u, 'a'], [w, 'b']);
      failures = [refused, { of: 'append', error: transient() }];
      await work();
      expect(calls.slice(1)).toEqual([`append ${u}:a ${w}:b`, `append ${u}:a`, `append ${u}:a`, `append ${w}:b`]);
      expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
    });

    it('sets nothing aside if the updater stops before the user is found', async () => {
      await enqueue([u, 'a'], [w, 'b']);
      failures = [refused, { of: 'append', error: transient() }];
      onCall = (call) => {
        if (call.startsWith('append')) stopping.abort();
      };
      await expect(work()).rejects.toMatchObject({ reason: 'dependency_unavailable' });
      expect(await counts()).toEqual({ waiting: 0, active: 1, failed: 0 });
    });

    it('sets nothing aside if the partition is lost before the user is found', async () => {
      await enqueue([u, 'a'], [w, 'b']);
      failures = [refused];
      onCall = (call) => {
        if (call.startsWith('append')) fences[0]?.end();
      };
      await expect(work()).rejects.toMatchObject({ reason: 'conflict' });
      expect(await counts()).toEqual({ waiting: 0, active: 1, failed: 0 });
    });
  });

  it('remembers the waves of a large job, so that the next consumer continues behind them', async () => {
    const events = Array.from({ length: 3 * RECENT_EVENT_RING }, (_, i) => [u, `e${i}`] as [string, string]);
    await enqueue(...events);
    onCall = (call) => {
      if (call.includes(`e${2 * RECENT_EVENT_RING}`) && call.startsWith('append')) fences[0]?.end();
    };
    await expect(work()).rejects.toMatchObject({ reason: 'conflict' });
    await queues[0]?.recover();
    const [again] = (await queues[0]?.take(1)) ?? [];
    expect(again?.progress).toBe(2);
  });

  it('deletes a position, and completes the removal', async () => {
    await producer.forget(interactionOf(u, 'a'));
    await producer.forget(interactionOf(u, 'unknown'));
    await work();
    expect(calls.slice(1)).toEqual(['forget a', 'forget unknown']);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
    expect(await samples('ckv_interactions_total')).toEqual({ forgotten: 1 });
    expect(await samples('ckv_jobs_total')).toMatchObject({ done: 2 });
  });

  it('deletes a position behind the interactions that were queued before, and before those queued after', async () => {
    await enqueue([u, 'a']);
    await producer.forget(interactionOf(u, 'a'));
    await enqueue([u, 'b']);
    await work();
    expect(calls.slice(1)).toEqual([`append ${u}:a`, 'forget a', `append ${u}:b`]);
  });

  it('deletes again after a transient error', async () => {
    failures = [{ of: 'forget', error: transient('overloaded') }];
    await producer.forget(interactionOf(u, 'a'));
    await work();
    expect(calls.slice(1)).toEqual(['forget a', 'forget a']);
    expect(validUntil).toEqual([fences[0]?.validUntilMs(), fences[0]?.validUntilMs()]);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
  });

  it('sets a removal aside that can never succeed', async () => {
    failures = [{ of: 'forget', error: new CkvError('record_corrupt', 'broken') }];
    await producer.forget(interactionOf(u, 'a'));
    await work();
    expect(await failedJobs()).toMatchObject([{ name: 'forget', problem: 'record_corrupt: broken' }]);
  });

  it('keeps a removal whose partition was lost', async () => {
    await producer.forget(interactionOf(u, 'a'));
    const batch = await batches.prepare(await take());
    fences[0]?.end();
    await expect(batches.apply(batch)).rejects.toMatchObject({ reason: 'conflict' });
    expect(calls).toEqual(['encode']);
    expect(await counts()).toMatchObject({ active: 1, failed: 0 });
  });
});
