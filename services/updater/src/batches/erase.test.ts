// Erasures on a real queue. The test's own writer replaces the records.
import { CkvError, type Interaction, partitionOf } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createLogger, createMetrics } from '@collectivekv/service-kit';
import {
  type BundleErasure,
  createInteractionProducer,
  type InteractionProducer,
  inspectQueue,
  openLeaseTable,
  openPartitionQueue,
  openReceipts,
  type PartitionQueue,
  type QueueInspection,
  type Receipts,
} from '@collectivekv/update-queue';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createUpdaterMetrics } from '../metrics.js';
import { createFence, type RenewableFence } from '../partitions/fence.js';
import type { RecordWriter } from '../records/record-writer.js';
import { createJobBatches } from './job-batches.js';
import { createLateCalls, type LateCalls } from './late-calls.js';

const RECEIPT = '2f1f7c4e-0000-4000-8000-000000000001';
const OTHER = '2f1f7c4e-0000-4000-8000-000000000002';
const FENCE_END_MS = 1_700_000_000_000;
const userIn = (partition: number) => {
  for (let i = 0; ; i++) if (partitionOf(`user-${i}`, 2) === partition) return `user-${i}`;
};
const [u, v] = [userIn(0), userIn(1)];
const interactionOf = (eventId: string, userId = u): Interaction => ({
  eventId,
  userId,
  itemId: 'i',
  timestampMs: 1_700_000_000_000,
  action: '',
  features: {},
});

let redis: PrivateRedis;
let client: RedisClient;
let producer: InteractionProducer;
let queue: PartitionQueue;
let fence: RenewableFence;
let receipts: Receipts;
let inspection: QueueInspection;
let lateCalls: LateCalls;
/** The events in the record of `u`. */
let record: string[];
/** Steps of the writer, in order. */
let calls: string[];
/** Runs at the beginning of the writer's deletions, which may fail. */
let onDelete: () => void;
let stopping: AbortController;

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});
beforeEach(async () => {
  await client.flushall();
  producer = createInteractionProducer({ client, keyPrefix: 'ckv', partitionCount: 2, maxWaitingJobs: 99 });
  inspection = inspectQueue({ client, keyPrefix: 'ckv', partitionCount: 2 });
  receipts = openReceipts({ client, keyPrefix: 'ckv', ttlS: 600 });
  const { terms } = await openLeaseTable(client, 'ckv', 2).hold('one', 60_000);
  const term = terms.find(({ partition }) => partition === 0);
  if (!term) throw new Error('no lease');
  queue = openPartitionQueue({ client, keyPrefix: 'ckv', term, token: 'one' });
  await queue.recover();
  fence = createFence(term);
  fence.renew({ endsMs: FENCE_END_MS, heldUntilMs: Number.POSITIVE_INFINITY, endedByMs: performance.now() });
  lateCalls = createLateCalls();
  stopping = new AbortController();
  [record, calls] = [[], []];
  onDelete = () => undefined;
});
afterEach(() => Promise.all([queue.close(), producer.close(), inspection.close()]));

const erasureOf = (count: number): BundleErasure[] =>
  count === 0 ? [] : [{ bundleId: 'b', recordCount: 1, quarantinedCount: 0, positionCount: 0, remainder: 'nothing' }];
const writer: RecordWriter = {
  encode: async () => ({ bundles: [], unknownItemCount: 0, unknownActionCount: 0 }),
  async append(byUser) {
    const events = (byUser.get(u) ?? []).map(({ eventId }) => eventId);
    calls.push(`append ${events}`);
    record.push(...events);
    return { appliedCount: events.length, duplicateCount: 0 };
  },
  async deleteUser(_, validUntilMs) {
    calls.push('delete');
    expect(validUntilMs()).toBe(FENCE_END_MS - 500);
    onDelete();
    return erasureOf(record.splice(0).length);
  },
  async forget({ eventId }) {
    calls.push(`forget ${eventId}`);
    onDelete();
    const before = record.length;
    record = record.filter((one) => one !== eventId);
    return [
      {
        bundleId: 'b',
        recordCount: 0,
        quarantinedCount: 1,
        positionCount: before - record.length,
        remainder: 'later_rows',
      },
    ];
  },
};

/** Takes all jobs of the partition and works on them. */
async function work(): Promise<void> {
  const batches = createJobBatches({
    producer,
    partitionCount: 2,
    writer,
    receipts,
    lateCalls,
    metrics: createUpdaterMetrics(createMetrics('test')),
    log: createLogger('test', 'silent'),
    signal: stopping.signal,
  });
  await batches.apply(await batches.prepare([{ queue, fence, jobs: await queue.take(99) }]));
}
const failed = async () => (await inspection.failed(9)).map(({ name, problem }) => [name, problem]);
const transient = () => new CkvError('dependency_unavailable', 'later');

describe('the deletion of a user', () => {
  it('comes in turn: what was enqueued before is gone, what was enqueued after begins anew', async () => {
    await producer.enqueue([interactionOf('a'), interactionOf('b')]);
    await producer.deleteUser(u, RECEIPT);
    await producer.enqueue([interactionOf('c')]);
    await work();
    expect(calls).toEqual(['append a,b', 'delete', 'append c']);
    expect(record).toEqual(['c']);
    expect(await receipts.get(RECEIPT)).toMatchObject({
      kind: 'delete',
      state: 'done',
      tryCount: 1,
      report: { bundles: erasureOf(1), setAsideCount: 0, waitingCount: 0, keptCount: 0 },
    });
  });

  it('does nothing if it comes again after it was done', async () => {
    await producer.deleteUser(u, RECEIPT);
    await work();
    await producer.enqueue([interactionOf('c')]);
    await producer.deleteUser(u, RECEIPT);
    await work();
    expect(record).toEqual(['c']);
    expect(calls).toEqual(['delete', 'append c']);
    expect((await inspection.counts()).map(({ waiting, active }) => waiting + active)).toEqual([0, 0]);
  });

  it('deletes all over again if its consumer died before it was done', async () => {
    await producer.enqueue([interactionOf('a')]);
    await producer.deleteUser(u, RECEIPT);
    await producer.enqueue([interactionOf('c')]);
    onDelete = () => {
      record.splice(0);
      fence.end();
      throw transient();
    };
    await expect(work()).rejects.toMatchObject({ reason: 'conflict' });
    expect(await receipts.get(RECEIPT)).toMatchObject({ state: 'pending', tryCount: 1 });
    onDelete = () => undefined;
    fence.renew({ endsMs: FENCE_END_MS, heldUntilMs: Number.POSITIVE_INFINITY, endedByMs: performance.now() });
    await queue.recover();
    await work();
    expect(record).toEqual(['c']);
    expect(await receipts.get(RECEIPT)).toMatchObject({ state: 'done', tryCount: 2, report: { bundles: [] } });
  });

  it('waits until no append of the user can be late', async () => {
    await producer.deleteUser(u, RECEIPT);
    const endedByMs = performance.now() + 60;
    lateCalls.appendFailed(new Map([[u, [interactionOf('a')]]]), endedByMs);
    let deletedAtMs = 0;
    onDelete = () => {
      deletedAtMs = performance.now();
    };
    await work();
    expect(deletedAtMs).toBeGreaterThanOrEqual(endedByMs);
  });

  it('lets no event follow while a failed try may still arrive', async () => {
    await producer.deleteUser(u, RECEIPT);
    await producer.enqueue([interactionOf('c')]);
    const endedByMs = performance.now() + 200;
    fence.renew({ endsMs: FENCE_END_MS, heldUntilMs: Number.POSITIVE_INFINITY, endedByMs });
    let tries = 0;
    onDelete = () => {
      if (tries++ === 0) throw transient();
    };
    await work();
    expect(calls).toEqual(['delete', 'delete', 'append c']);
    expect(performance.now()).toBeGreaterThanOrEqual(endedByMs);
  });

  it('takes the user out of jobs that were set aside, and finishes the erasures among them', async () => {
    onDelete = () => {
      throw new CkvError('bug', 'broken');
    };
    await producer.deleteUser(u, OTHER);
    await work();
    expect(await receipts.get(OTHER)).toMatchObject({ state: 'aside' });
    expect(await failed()).toEqual([['delete', 'bug: broken']]);
    onDelete = () => undefined;
    await producer.deleteUser(u, RECEIPT);
    await work();
    expect(await failed()).toEqual([]);
    expect(await receipts.get(RECEIPT)).toMatchObject({ state: 'done', report: { setAsideCount: 1 } });
    expect(await receipts.get(OTHER)).toMatchObject({ state: 'done', report: { setAsideCount: 0 } });
  });

  it('succeeds with the same receipt after it was set aside', async () => {
    onDelete = () => {
      throw new CkvError('bug', 'broken');
    };
    await producer.deleteUser(u, RECEIPT);
    await work();
    onDelete = () => undefined;
    record = ['a'];
    await producer.deleteUser(u, RECEIPT);
    await work();
    const report = { bundles: erasureOf(1), setAsideCount: 1 };
    expect(await receipts.get(RECEIPT)).toMatchObject({ state: 'done', tryCount: 2, report });
    expect(await failed()).toEqual([]);
  });

  it('is set aside if its receipt is of another user, and deletes nothing', async () => {
    await receipts.open({ userId: 'somebody', receiptId: RECEIPT });
    record = ['a'];
    await producer.deleteUser(u, RECEIPT);
    await work();
    expect(await failed()).toEqual([['delete', expect.stringMatching(/^invalid_request: receipt_id/)]]);
    expect(record).toEqual(['a']);
    expect(await receipts.get(RECEIPT)).toMatchObject({ state: 'pending' });
  });

  it('is passed on from the queue of another partition', async () => {
    await producer.deleteUser(v, RECEIPT);
    const [job] = await client.lrange('{ckv}:interactions-1:wait', 0, -1);
    await client.rename('{ckv}:interactions-1:wait', '{ckv}:interactions-0:wait');
    await client.rename(`{ckv}:interactions-1:${job}`, `{ckv}:interactions-0:${job}`);
    await work();
    expect(calls).toEqual([]);
    expect(await client.lrange('{ckv}:interactions-1:wait', 0, -1)).toEqual([`delete-${RECEIPT}`]);
  });

  it('leaves its own job in the queue if the updater stops while an append may be late', async () => {
    await producer.deleteUser(u, RECEIPT);
    lateCalls.appendFailed(new Map([[u, [interactionOf('a')]]]), performance.now() + 60_000);
    const working = work();
    await expect.poll(async () => (await receipts.get(RECEIPT))?.tryCount).toBe(1);
    stopping.abort();
    await expect(working).rejects.toMatchObject({ reason: 'draining' });
    expect(calls).toEqual([]);
    expect((await inspection.counts())[0]).toMatchObject({ active: 1 });
  });
});

describe('the removal of an interaction', () => {
  it('says under each bundle what it deleted and what may remain', async () => {
    await producer.enqueue([interactionOf('a'), interactionOf('b')]);
    await producer.forget(interactionOf('a'), RECEIPT);
    await work();
    expect(record).toEqual(['b']);
    expect(await receipts.get(RECEIPT)).toMatchObject({
      kind: 'forget',
      state: 'done',
      report: { bundles: [{ positionCount: 1, quarantinedCount: 1, remainder: 'later_rows' }] },
    });
  });

  it('takes the event out of jobs that were set aside, with or without a receipt', async () => {
    onDelete = () => {
      throw new CkvError('record_corrupt', 'broken');
    };
    await producer.forget(interactionOf('a'));
    await producer.forget(interactionOf('b'), OTHER);
    await work();
    onDelete = () => undefined;
    await producer.forget(interactionOf('a'), RECEIPT);
    await producer.forget(interactionOf('b'));
    await work();
    expect(await failed()).toEqual([]);
    expect(await receipts.get(OTHER)).toMatchObject({ state: 'done' });
    expect(await receipts.get(RECEIPT)).toMatchObject({ state: 'done', report: { setAsideCount: 1 } });
  });
});
