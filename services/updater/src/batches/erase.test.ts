// Erasures on a real queue. The test's own writer replaces the records.
import { CkvError, type Interaction } from '@collectivekv/domain';
import { type EncodingErasure, recordJobData } from '@collectivekv/update-queue';
import { beforeEach, describe, expect, it } from 'vitest';
import type { RecordWriter } from '../records/record-writer.js';
import {
  addJob,
  bench,
  counts,
  createBatches,
  FENCE_END_MS,
  failedJobs,
  interactionOf as interactionOfUser,
  samples,
  transient,
  u,
  useJobBatches,
  v,
  work,
} from './job-batches.fixture.js';

useJobBatches();

const RECEIPT = '2f1f7c4e-0000-4000-8000-000000000001';
const OTHER = '2f1f7c4e-0000-4000-8000-000000000002';
const interactionOf = (eventId: string): Interaction => interactionOfUser(u, eventId);

/** The events in the record of `u`. */
let record: string[];
/** Steps of the writer, in order. */
let calls: string[];
/** Runs at the beginning of the writer's deletions, which may fail. */
let onDelete: () => void;

beforeEach(() => {
  [record, calls] = [[], []];
  onDelete = () => undefined;
  bench.batches = createBatches(bench.producer, writer);
});

const erasureOf = (count: number): EncodingErasure[] =>
  count === 0
    ? []
    : [{ encodingId: 'b', recordCount: 1, unreadableCount: 0, positionCount: count, remainder: 'nothing' }];
const writer: RecordWriter = {
  knows: () => false,
  encode: async () => ({ encodings: [], unknownItemCount: 0, unknownActionCount: 0 }),
  async append(byUser) {
    const events = (byUser.get(u) ?? []).map(({ eventId }) => eventId);
    calls.push(`append ${events}`);
    record.push(...events);
    return { appliedCount: events.length, duplicateCount: 0, repeatedUsers: new Set() };
  },
  async deleteUser(_, validUntilMs) {
    calls.push('delete');
    expect(bench.fences.map((fence) => fence.validUntilMs())).toContain(validUntilMs());
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
        encodingId: 'b',
        recordCount: 0,
        unreadableCount: 1,
        positionCount: before - record.length,
        remainder: 'later_rows',
      },
    ];
  },
};

/** Lets the updater hold its partition, or hold it again. */
const renewFence = (endedByMs = performance.now()) =>
  bench.fences[0]?.renew({ endsMs: FENCE_END_MS, heldUntilMs: Number.POSITIVE_INFINITY, endedByMs });
const failed = async () => (await failedJobs()).map(({ name, problem }) => [name, problem]);
/** Moves the only job of the second partition into the first. */
async function leadAstray(job: string): Promise<void> {
  await bench.client.rename('{ckv}:interactions-1:wait', '{ckv}:interactions-0:wait');
  await bench.client.rename(`{ckv}:interactions-1:${job}`, `{ckv}:interactions-0:${job}`);
}

describe('the deletion of a user', () => {
  it('comes in turn: what was enqueued before is gone, what was enqueued after begins anew', async () => {
    await bench.producer.enqueue([interactionOf('a'), interactionOf('b')]);
    await bench.producer.deleteUser(u, RECEIPT);
    await bench.producer.enqueue([interactionOf('c')]);
    await work();
    expect(calls).toEqual(['append a,b', 'delete', 'append c']);
    expect(record).toEqual(['c']);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({
      kind: 'delete',
      state: 'done',
      tryCount: 1,
      report: { encodings: erasureOf(2), setAsideCount: 0, waitingCount: 0, keptCount: 0 },
    });
    expect(await samples('ckv_interactions_total')).not.toHaveProperty('forgotten', 1);
  });

  it('does nothing if it comes again after it was done', async () => {
    await bench.producer.deleteUser(u, RECEIPT);
    await work();
    await bench.producer.enqueue([interactionOf('c')]);
    await bench.producer.deleteUser(u, RECEIPT);
    await work();
    expect(record).toEqual(['c']);
    expect(calls).toEqual(['delete', 'append c']);
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
  });

  it('deletes all over again if its consumer died before it was done', async () => {
    await bench.producer.enqueue([interactionOf('a')]);
    await bench.producer.deleteUser(u, RECEIPT);
    await bench.producer.enqueue([interactionOf('c')]);
    onDelete = () => {
      record.splice(0);
      bench.fences[0]?.end();
      throw transient();
    };
    await expect(work()).rejects.toMatchObject({ reason: 'conflict' });
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'pending', tryCount: 1 });
    onDelete = () => undefined;
    renewFence();
    await bench.queues[0]?.recover();
    await work();
    expect(record).toEqual(['c']);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'done', tryCount: 2, report: { encodings: [] } });
  });

  it('waits until no append of the user can be late', async () => {
    await bench.producer.deleteUser(u, RECEIPT);
    const endedByMs = performance.now() + 60;
    bench.lateCalls.appendFailed(new Map([[u, [interactionOf('a')]]]), endedByMs);
    let deletedAtMs = 0;
    onDelete = () => {
      deletedAtMs = performance.now();
    };
    await work();
    expect(deletedAtMs).toBeGreaterThanOrEqual(endedByMs);
  });

  it('lets no event follow while a failed try may still arrive', async () => {
    await bench.producer.deleteUser(u, RECEIPT);
    await bench.producer.enqueue([interactionOf('c')]);
    const endedByMs = performance.now() + 200;
    renewFence(endedByMs);
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
    await bench.producer.deleteUser(u, OTHER);
    await work();
    expect(await bench.receipts.get(OTHER)).toMatchObject({ state: 'aside' });
    expect(await failed()).toEqual([['delete', 'bug: broken']]);
    onDelete = () => undefined;
    await bench.producer.deleteUser(u, RECEIPT);
    await work();
    expect(await failed()).toEqual([]);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'done', report: { setAsideCount: 1 } });
    expect(await bench.receipts.get(OTHER)).toMatchObject({ state: 'done', report: { setAsideCount: 0 } });
  });

  it('takes a prioritised job with it, which comes up behind it in the queue', async () => {
    await addJob('record', recordJobData([interactionOf('a')]), { priority: 1 });
    await bench.producer.deleteUser(u, RECEIPT);
    await work();
    expect(calls).toEqual(['delete']);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'done', report: { waitingCount: 1 } });
  });

  it('says in its receipt that it was set aside because it cannot be passed on', async () => {
    await bench.producer.deleteUser(v, RECEIPT);
    await leadAstray(`delete-${RECEIPT}`);
    bench.batches = createBatches({ forward: () => Promise.reject(new CkvError('bug', 'broken')) }, writer);
    await work();
    expect(await failed()).toEqual([['delete', 'bug: broken']]);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'aside' });
  });

  it('succeeds with the same receipt after it was set aside', async () => {
    onDelete = () => {
      throw new CkvError('bug', 'broken');
    };
    await bench.producer.deleteUser(u, RECEIPT);
    await work();
    onDelete = () => undefined;
    record = ['a'];
    await bench.producer.deleteUser(u, RECEIPT);
    await work();
    const report = { encodings: erasureOf(1), setAsideCount: 1 };
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'done', tryCount: 2, report });
    expect(await failed()).toEqual([]);
  });

  it('is set aside if its receipt is of another user, and deletes nothing', async () => {
    await bench.receipts.open({ userId: 'somebody', receiptId: RECEIPT });
    record = ['a'];
    await bench.producer.deleteUser(u, RECEIPT);
    await work();
    expect(await failed()).toEqual([['delete', expect.stringMatching(/^invalid_request: receipt_id/)]]);
    expect(record).toEqual(['a']);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'pending' });
  });

  it('is passed on from the queue of another partition, and done there', async () => {
    await bench.producer.deleteUser(v, RECEIPT);
    await leadAstray(`delete-${RECEIPT}`);
    await work();
    expect(calls).toEqual(['delete']);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'done', tryCount: 1 });
    expect(await counts()).toEqual({ waiting: 0, active: 0, failed: 0 });
  });

  it('leaves its own job in the queue if the updater stops while an append may be late', async () => {
    await bench.producer.deleteUser(u, RECEIPT);
    bench.lateCalls.appendFailed(new Map([[u, [interactionOf('a')]]]), performance.now() + 60_000);
    const working = work();
    await expect.poll(async () => (await bench.receipts.get(RECEIPT))?.tryCount).toBe(1);
    bench.stopping.abort();
    await expect(working).rejects.toMatchObject({ reason: 'draining' });
    expect(calls).toEqual([]);
    expect(await counts()).toMatchObject({ active: 1 });
  });
});

describe('the removal of an interaction', () => {
  it('says under each encoding what it deleted and what may remain', async () => {
    await bench.producer.enqueue([interactionOf('a'), interactionOf('b')]);
    await bench.producer.forget(interactionOf('a'), RECEIPT);
    await work();
    expect(record).toEqual(['b']);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({
      kind: 'forget',
      state: 'done',
      report: { encodings: [{ positionCount: 1, unreadableCount: 1, remainder: 'later_rows' }] },
    });
  });

  it('takes the event out of jobs that were set aside, with or without a receipt', async () => {
    onDelete = () => {
      throw new CkvError('record_corrupt', 'broken');
    };
    await bench.producer.forget(interactionOf('a'));
    await bench.producer.forget(interactionOf('b'), OTHER);
    await work();
    onDelete = () => undefined;
    await bench.producer.forget(interactionOf('a'), RECEIPT);
    await bench.producer.forget(interactionOf('b'));
    await work();
    expect(await failed()).toEqual([]);
    expect(await bench.receipts.get(RECEIPT)).toMatchObject({ state: 'done', report: { setAsideCount: 1 } });
    // What may remain after the later removal remains for the earlier one as well.
    const encoding = { encodingId: 'b', recordCount: 0, unreadableCount: 0, positionCount: 0, remainder: 'later_rows' };
    expect(await bench.receipts.get(OTHER)).toMatchObject({ state: 'done', report: { encodings: [encoding] } });
  });
});
