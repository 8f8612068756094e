import { CkvError, LIMITS } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createLogger } from '@collectivekv/service-kit';
import {
  createInteractionProducer,
  type InteractionProducer,
  openQueues,
  openReceipts,
  type Receipts,
} from '@collectivekv/update-queue';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createInteractionHandlers } from './handlers.js';
import { type QueueRedis, watchQueueRedis } from './queue-redis.js';

let redis: PrivateRedis;
let client: RedisClient;
let producer: InteractionProducer;
let receipts: Receipts;
let queueRedis: QueueRedis;
let ready: boolean;
let handlers: ReturnType<typeof createInteractionHandlers>;

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  producer = createInteractionProducer({ client, keyPrefix: 'ckv', partitionCount: 1, maxWaitingJobs: 99 });
  queueRedis = watchQueueRedis({
    client,
    keyPrefix: 'ckv',
    onTried: (able) => {
      ready = able;
    },
    log: createLogger('test', 'silent'),
  });
  receipts = openReceipts({ client, keyPrefix: 'ckv', ttlS: 600 });
  handlers = createInteractionHandlers(producer, receipts, queueRedis);
});
afterAll(async () => {
  queueRedis.close();
  await producer.close();
  closeRedis(client);
  await redis.stop();
});
beforeEach(async () => {
  await client.flushall();
});

const waiting = { ended: undefined };
const interactions = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    eventId: `e${i}`,
    userId: 'u',
    itemId: 'i',
    timestampMs: 1_700_000_000_000,
    action: '',
    features: {},
  }));

const record = (list: ReturnType<typeof interactions>, idempotencyKey = '') =>
  handlers.Record({ interactions: list, idempotencyKey }, waiting);

/** Returns the waiting jobs, oldest first. */
async function queued(): Promise<{ name: string; data: unknown }[]> {
  const [queue] = openQueues(client, 'ckv', 1, { inspectOnly: true });
  const jobs = (await queue?.getWaiting()) ?? [];
  await queue?.close();
  return jobs.reverse().map(({ name, data }) => ({ name, data }));
}

describe('Record', () => {
  it('queues interactions as one record job, in order', async () => {
    expect(await record(interactions(3))).toEqual({ queuedCount: 3 });
    expect(await queued()).toEqual([{ name: 'record', data: { version: 1, interactions: interactions(3) } }]);
  });

  it('accepts as many interactions as the limit', async () => {
    const { recordInteractions } = LIMITS;
    expect(await record(interactions(recordInteractions))).toEqual({
      queuedCount: recordInteractions,
    });
  });

  it.each([0, LIMITS.recordInteractions + 1])('refuses %i interactions and queues nothing', async (count) => {
    await expect(record(interactions(count))).rejects.toMatchObject({
      reason: 'invalid_request',
      field: 'interactions',
    });
    expect(await queued()).toEqual([]);
  });

  it('names the malformed interaction and queues nothing', async () => {
    const [first] = interactions(1);
    if (!first) throw new Error('no interaction');
    await expect(record([first, { ...first, userId: '' }])).rejects.toMatchObject({
      reason: 'invalid_request',
      field: 'interactions[1].userId',
    });
    expect(await queued()).toEqual([]);
  });

  it.each([
    ['', 'added-1'],
    ['k'.repeat(LIMITS.idempotencyKeyBytes), 'de:*'],
  ])('remembers a small call with the idempotency key "%s" for an hour at most', async (key, kind) => {
    await record(interactions(2), key);
    const [memory = ''] = await client.keys(`{ckv}:interactions-0:${kind}`);
    const leftMs = await client.pttl(memory);
    expect(leftMs).toBeGreaterThan(3_000_000);
    expect(leftMs).toBeLessThanOrEqual(3_600_000);
  });

  it('queues nothing if the caller gave up, and its cancellation is read in the same turn as the call', async () => {
    const [interaction = null] = interactions(1);
    const call: { ended: CkvError | undefined } = { ended: undefined };
    const late = [
      handlers.Record({ interactions: interactions(1), idempotencyKey: '' }, call),
      handlers.Forget({ interaction, receiptId: '' }, call),
      handlers.DeleteUser({ userId: 'u', receiptId: '' }, call),
    ];
    call.ended = new CkvError('cancelled', 'the caller gave up');
    for (const one of late) await expect(one).rejects.toBe(call.ended);
    expect(await queued()).toEqual([]);
  });

  it('refuses an idempotency key that is longer than the limit, and queues nothing', async () => {
    const tooLong = 'k'.repeat(LIMITS.idempotencyKeyBytes + 1);
    await expect(record(interactions(1), tooLong)).rejects.toMatchObject({
      reason: 'invalid_request',
      field: 'idempotency_key',
    });
    expect(await queued()).toEqual([]);
  });
});

const receiptId = '2f1f7c4e-0000-4000-8000-000000000001';
const pending = (id: unknown, kind: string) => ({
  receipt: expect.objectContaining({ receiptId: id, kind, state: 'RECEIPT_STATE_PENDING', doneAtMs: 0, encodings: [] }),
});
const ANY_UUID = expect.stringMatching(/^[0-9a-f-]{36}$/);
const REPORT = {
  encodings: [
    { encodingId: 'a', recordCount: 1, unreadableCount: 1, positionCount: 0, remainder: 'nothing' },
    { encodingId: 'b', recordCount: 0, unreadableCount: 0, positionCount: 1, remainder: 'later_rows' },
  ],
  setAsideCount: 1,
  waitingCount: 2,
  keptCount: 3,
} as const;

describe('Forget', () => {
  const forget = (id: string) => handlers.Forget({ interaction: interactions(1)[0] ?? null, receiptId: id }, waiting);

  it('queues the removal of an interaction, and answers with a pending receipt', async () => {
    expect(await forget(receiptId)).toEqual(pending(receiptId, 'ERASURE_KIND_INTERACTION'));
    expect(await queued()).toEqual([
      { name: 'forget', data: { version: 1, interaction: interactions(1)[0], receiptId } },
    ]);
  });

  it('gives every call without an id a receipt of its own', async () => {
    const answers = await Promise.all([forget(''), forget('')]);
    expect(answers).toEqual([ANY_UUID, ANY_UUID].map((id) => pending(id, 'ERASURE_KIND_INTERACTION')));
    expect(new Set(answers.map(({ receipt }) => receipt?.receiptId)).size).toBe(2);
    expect((await queued()).length).toBe(2);
  });

  it('refuses a removal without an event id', async () => {
    await expect(handlers.Forget({ interaction: null, receiptId: '' }, waiting)).rejects.toMatchObject({
      reason: 'invalid_request',
      field: 'interaction.eventId',
    });
  });
});

describe('DeleteUser', () => {
  it('queues the deletion of a user once for each receipt, until the deletion is done', async () => {
    const request = { userId: 'u', receiptId };
    for (let i = 0; i < 3; i++) {
      expect(await handlers.DeleteUser(request, waiting)).toEqual(pending(receiptId, 'ERASURE_KIND_USER'));
    }
    expect(await queued()).toEqual([{ name: 'delete', data: { version: 1, ...request } }]);
    await client.flushall();
    await receipts.finish({ userId: 'u', receiptId }, REPORT);
    expect(await handlers.DeleteUser(request, waiting)).toMatchObject({ receipt: { state: 'RECEIPT_STATE_DONE' } });
    expect(await queued()).toEqual([]);
  });

  it('queues the deletion again after its job was set aside, and is pending again', async () => {
    const request = { userId: 'u', receiptId };
    await receipts.setAside(request);
    expect(await handlers.DeleteUser(request, waiting)).toEqual(pending(receiptId, 'ERASURE_KIND_USER'));
    expect((await queued()).length).toBe(1);
  });

  it.each([
    ['user_id', { userId: '', receiptId: '' }],
    ['receipt_id', { userId: 'u', receiptId: 'u' }],
    ['receipt_id', { userId: 'u', receiptId: receiptId.toUpperCase() }],
    ['receipt_id', { userId: 'u', receiptId: receiptId.replace('-4', '-5') }], // such an id is made of a name
  ])('refuses a wrong %s, and queues nothing: %j', async (field, request) => {
    await expect(handlers.DeleteUser(request, waiting)).rejects.toMatchObject({ reason: 'invalid_request', field });
    expect(await queued()).toEqual([]);
  });

  it("refuses another user's receipt, and queues nothing, whether that user's deletion waits or is gone", async () => {
    await handlers.DeleteUser({ userId: 'u', receiptId }, waiting);
    const foreign = () => handlers.DeleteUser({ userId: 'v', receiptId }, waiting);
    await expect(foreign()).rejects.toMatchObject({ field: 'receipt_id' });
    expect(await queued()).toEqual([{ name: 'delete', data: { version: 1, userId: 'u', receiptId } }]);
    await client.del('{ckv}:interactions-0:wait', `{ckv}:interactions-0:delete-${receiptId}`);
    await expect(foreign()).rejects.toMatchObject({ field: 'receipt_id' });
    await expect(
      handlers.Forget({ interaction: interactions(1)[0] ?? null, receiptId }, waiting),
    ).rejects.toMatchObject({ field: 'receipt_id' });
    expect(await queued()).toEqual([]);
  });

  it('queues one of two deletions that come at once with the same receipt', async () => {
    const calls = ['u', 'v'].map((userId) => handlers.DeleteUser({ userId, receiptId }, waiting));
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect((await queued()).length).toBe(1);
  });
});

describe('GetReceipt', () => {
  it('returns what was erased', async () => {
    await receipts.finish({ userId: 'u', receiptId }, REPORT);
    expect((await handlers.GetReceipt({ receiptId })).receipt).toEqual({
      receiptId,
      kind: 'ERASURE_KIND_USER',
      state: 'RECEIPT_STATE_DONE',
      requestedAtMs: expect.any(Number),
      doneAtMs: expect.any(Number),
      encodings: [
        { ...REPORT.encodings[0], remainder: 'REMAINDER_UNSPECIFIED' },
        { ...REPORT.encodings[1], remainder: 'REMAINDER_LATER_ROWS' },
      ],
      setAsideJobCount: 1,
      waitingJobCount: 2,
      keptJobCount: 3,
      partial: true,
      tryCount: 0,
    });
  });

  it('says that there is no such receipt', async () => {
    await expect(handlers.GetReceipt({ receiptId })).rejects.toMatchObject({
      reason: 'receipt_not_found',
      field: 'receipt_id',
    });
  });
});

describe('while Redis may evict', () => {
  it.each(['allkeys-lru', 'volatile-ttl'])('refuses to queue with %s, until the policy is mended', async (policy) => {
    const [interaction = null] = interactions(1);
    await vi.waitUntil(() => ready, { timeout: 5_000 });
    await client.config('SET', 'maxmemory-policy', policy);
    await vi.waitUntil(() => !ready, { timeout: 5_000 });
    const refusal = {
      reason: 'dependency_unavailable',
      message: expect.stringMatching(`CKV_QUEUE_REDIS_URL: .*${policy}; set maxmemory-policy noeviction`),
    };
    await expect(record(interactions(1))).rejects.toMatchObject(refusal);
    await expect(handlers.Forget({ interaction, receiptId: '' }, waiting)).rejects.toMatchObject(refusal);
    await expect(handlers.DeleteUser({ userId: 'u', receiptId: '' }, waiting)).rejects.toMatchObject(refusal);
    expect(await queued()).toEqual([]);

    await client.config('SET', 'maxmemory-policy', 'noeviction');
    await vi.waitUntil(() => ready, { timeout: 5_000 });
    expect(await record(interactions(1))).toEqual({ queuedCount: 1 });
  });
});
