import { CkvError, LIMITS } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createLogger } from '@collectivekv/service-kit';
import { createInteractionProducer, type InteractionProducer, openQueues } from '@collectivekv/update-queue';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createInteractionHandlers } from './handlers.js';
import { type QueueRedis, watchQueueRedis } from './queue-redis.js';

let redis: PrivateRedis;
let client: RedisClient;
let producer: InteractionProducer;
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
  handlers = createInteractionHandlers(producer, queueRedis);
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
    ['', 60_000],
    ['k'.repeat(LIMITS.idempotencyKeyBytes), 3_600_000],
  ])('remembers a small call with the idempotency key "%s" for %i ms', async (key, forMs) => {
    await record(interactions(2), key);
    const [memory = ''] = await client.keys('{ckv}:interactions-0:de:*');
    const leftMs = await client.pttl(memory);
    expect(leftMs).toBeGreaterThan(forMs * 0.8);
    expect(leftMs).toBeLessThanOrEqual(forMs);
  });

  it('queues nothing if the caller gave up, and its cancellation is read in the same turn as the call', async () => {
    const [interaction = null] = interactions(1);
    const call: { ended: CkvError | undefined } = { ended: undefined };
    const late = [
      handlers.Record({ interactions: interactions(1), idempotencyKey: '' }, call),
      handlers.Forget({ interaction }, call),
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

describe('Forget', () => {
  it('queues the removal of an interaction', async () => {
    const [interaction] = interactions(1);
    expect(await handlers.Forget({ interaction: interaction ?? null }, waiting)).toEqual({});
    expect(await queued()).toEqual([{ name: 'forget', data: { version: 1, interaction } }]);
  });

  it('refuses a removal without an event id', async () => {
    await expect(handlers.Forget({ interaction: null }, waiting)).rejects.toMatchObject({
      reason: 'invalid_request',
      field: 'interaction.eventId',
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
    await expect(handlers.Forget({ interaction }, waiting)).rejects.toMatchObject(refusal);
    expect(await queued()).toEqual([]);

    await client.config('SET', 'maxmemory-policy', 'noeviction');
    await vi.waitUntil(() => ready, { timeout: 5_000 });
    expect(await record(interactions(1))).toEqual({ queuedCount: 1 });
  });
});
