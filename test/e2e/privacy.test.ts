// A user is in every place of Redis that can hold one, is deleted, and is then in none.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { partitionOf } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';
import { openQueues, type QueueInspection } from '@collectivekv/update-queue';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type BundleIds, copyDemo, copyDemoWithOtherEncoding } from './bundle-copies.js';
import {
  type E2eStack,
  foreignRecord,
  interactionsOf,
  keyOf,
  PARTITIONS,
  startE2e,
  usersOfPartition,
  withQueue,
} from './e2e-stack.js';
import { tracesOf } from './everything-in-redis.js';

const seed = Math.floor(Math.random() * 1e9);
console.log(`seed ${seed}`);
/** Hard to escape: braces, a percent sign, quotes, a backslash, letters of two and of four bytes. */
const USER = `erase-{${seed}}%"\\ü-😀`;
const PARTITION = partitionOf(USER, PARTITIONS);
const FOREIGN = (PARTITION + 1) % PARTITIONS;
const [OTHER = ''] = usersOfPartition(PARTITION, 1, `other-${seed}`);
/** An encoding of no bundle. */
const FORMER = 'feedfacefeedface';
/** A bundle from before records were bound to encodings. */
const OLD_BUNDLE = 'deadbeefdeadbeef';

let dir: string;
let e2e: E2eStack;
let second: BundleIds;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-privacy-'));
  copyDemo(join(dir, 'bundles', 'first'), 'first');
  second = copyDemoWithOtherEncoding(join(dir, 'bundles', 'second'), 'second');
  e2e = await startE2e({
    dir: join(dir, 'stack'),
    bundlesDir: join(dir, 'bundles'),
    replicas: { updater: 2 },
    env: { pool: { CKV_ACTIVE_BUNDLE: 'first' } },
  });
});
afterAll(async () => {
  await e2e?.close();
  rmSync(dir, { recursive: true, force: true });
});

const eventIds: string[] = [];
let eventCount = 0;
/** Returns new interactions of the user. */
function fresh(count: number, userId = USER) {
  const made = interactionsOf(userId, count, eventCount).map((one) => ({
    action: '',
    features: {},
    timestampMs: 1,
    ...one,
  }));
  eventCount += count;
  if (userId === USER) eventIds.push(...made.map(({ eventId = '' }) => eventId));
  return made;
}

const recordKeys = (encodingId: string) =>
  keyOf(
    { encodingId },
    USER.replace(/[%{}]/g, (one) => `%${one.charCodeAt(0).toString(16)}`),
  );

/** Puts the user into every place. */
async function spread(redis: RedisClient, inspection: QueueInspection): Promise<void> {
  const { model } = e2e.bundle;
  const failedCount = async () => (await inspection.failed(99)).length;
  const queues = openQueues(redis, 'ckv', PARTITIONS);
  const [own, foreign] = [queues[PARTITION], queues[FOREIGN]];
  if (!own || !foreign) throw new Error('no queue');

  // Set aside: refused with another user beside, and of another schema. Unreadable.
  await redis.set(recordKeys(model.encodingId), foreignRecord(model));
  const [ofUser, ofOther] = [fresh(2), fresh(2, OTHER)];
  await e2e.client.recordInteractions([...ofUser, ...ofOther]);
  await own.add('record', { version: 1, interactions: [{ userId: USER, eventId: fresh(1)[0]?.eventId }] });
  const unreadable = await own.add('record', { version: 1, interactions: fresh(1) }, { delay: 3_600_000 });
  const text = `{"version":1,"interactions":[{"userId":${JSON.stringify(USER)},"x":NaN}]}`;
  await redis.hset(own.toKey(unreadable.id ?? ''), 'data', text);
  await vi.waitUntil(async () => (await failedCount()) === 2, { timeout: 20_000 });

  // An unreadable record, and a new one beside it.
  await redis.set(recordKeys(model.encodingId), `not a record of ${USER}`);
  await e2e.client.recordInteractions(fresh(3), { idempotencyKey: `call-${seed}` });
  await e2e.untilApplied(USER, 3);

  // Records of a second encoding, of one that no bundle has, and of a bundle.
  await e2e.pool.call('Activate', { bundleId: second.id, force: true });
  const appended = async () => {
    await e2e.client.recordInteractions(fresh(1));
    return (await redis.exists(recordKeys(second.encodingId))) === 1;
  };
  await vi.waitUntil(appended, { timeout: 30_000, interval: 100 });
  await redis.set(recordKeys(FORMER), `a record of ${USER}`);
  await redis.set(`${recordKeys(FORMER)}:corrupt`, `an unreadable record of ${USER}`);
  await redis.zadd('{ckv}:record-encodings-by-time', 1, FORMER);
  await redis.set(recordKeys(OLD_BUNDLE), `a record of ${USER}`);
  await redis.zadd('{ckv}:record-bundles-by-time', 1, OLD_BUNDLE);

  // Kept, delayed, prioritised behind nothing that runs, and waiting in a paused queue of another partition.
  await own.add('record', { version: 1, interactions: fresh(1) }, { removeOnComplete: false, jobId: `job-of-${USER}` });
  await vi.waitUntil(async () => (await own.getCompletedCount()) === 1, { timeout: 20_000 });
  await own.add('record', { version: 1, interactions: fresh(1) }, { delay: 3_600_000 });
  await foreign.pause();
  await foreign.add('record', { version: 1, interactions: [...fresh(1), ...fresh(1, OTHER)] });
  await foreign.add('record', { version: 1, interactions: fresh(1) }, { priority: 7 });
  await Promise.all(queues.map((queue) => queue.close()));
}

describe('a deleted user', () => {
  it('is in no key and in no value of Redis', async () => {
    await withQueue(e2e, async ({ inspection, redis }) => {
      await spread(redis, inspection);
      const before = new Set((await tracesOf(redis, USER, eventIds)).map(({ key }) => key));
      const places = [
        recordKeys(e2e.bundle.model.encodingId),
        `${recordKeys(e2e.bundle.model.encodingId)}:corrupt`,
        recordKeys(second.encodingId),
        recordKeys(FORMER),
        `${recordKeys(FORMER)}:corrupt`,
        recordKeys(OLD_BUNDLE),
      ];
      expect([...before]).toEqual(expect.arrayContaining(places));
      const jobsOf = (partition: number) =>
        [...before].filter((key) => key.startsWith(`{ckv}:interactions-${partition}:`));
      expect(jobsOf(PARTITION).length).toBeGreaterThanOrEqual(5); // set aside, kept, delayed, in the list of kept jobs
      expect(jobsOf(FOREIGN).length).toBeGreaterThanOrEqual(2);

      // The call is repeated before and after: its memory holds a digest, and it stays without effect.
      const remembered = fresh(1);
      await e2e.client.recordInteractions(remembered, { idempotencyKey: `again-${seed}` });
      const receipt = await e2e.client.deleteUser(USER, { wait: true });
      await e2e.client.recordInteractions(remembered, { idempotencyKey: `again-${seed}` });

      expect(receipt).toMatchObject({
        kind: 'user',
        state: 'done',
        partial: false,
        tryCount: 1,
        setAsideJobCount: 2,
        waitingJobCount: 4,
        keptJobCount: 1,
      });
      expect(receipt.encodings.map((one) => [one.encodingId, one.recordCount, one.unreadableCount]).sort()).toEqual(
        [
          [e2e.bundle.model.encodingId, 1, 1],
          [second.encodingId, 1, 0],
          [FORMER, 1, 1],
          [OLD_BUNDLE, 1, 0],
        ].sort(),
      );
      expect(await tracesOf(redis, USER, eventIds)).toEqual([]);
      expect(await e2e.client.getReceipt(receipt.receiptId)).toEqual(receipt);

      // What other users have is still there.
      expect(await inspection.failed(9)).toEqual([]);
      expect((await tracesOf(redis, OTHER, [])).map(({ key }) => key)).toContainEqual(
        expect.stringContaining(`interactions-${FOREIGN}`),
      );

      // Digests of whole calls stay for an hour at most, and receipts have a TTL.
      const memories = [...(await redis.keys('*:de:*')), ...(await redis.keys('*:added-*'))];
      for (const key of memories) expect(await redis.pttl(key)).toBeGreaterThan(0);
      for (const key of await redis.keys('{ckv}:receipt:*')) expect(await redis.ttl(key)).toBeGreaterThan(3_600);

      await e2e.client.recordInteractions(fresh(2));
      const record = await e2e.untilApplied(USER, 2);
      expect(record.positionCount).toBe(2);
      await e2e.client.deleteUser(USER, { wait: true });
    });
  }, 120_000);
});

it('is soon unknown to requests that allow a copy of the record', async () => {
  const userId = `copied-${seed}`;
  await e2e.client.recordInteractions(fresh(3, userId));
  const positionCount = async () => {
    const ranking = await e2e.client.rank({ userId, candidateIds: ['i0001'], maxStalenessMs: 3_600_000 });
    return ranking.info.positionCount;
  };
  await e2e.untilApplied(userId, 3);
  await expect.poll(positionCount, { timeout: 60_000 }).toBe(3); // an older copy may know less, for a minute at most
  await e2e.client.deleteUser(userId, { wait: true });
  // A message takes milliseconds; without it, the copy would serve for a minute.
  await expect.poll(positionCount, { timeout: 20_000 }).toBe(0);
}, 120_000);

describe('a forgotten interaction', () => {
  it('is in no job and in no record; its hash stays until 14 newer events came', async () => {
    await withQueue(e2e, async ({ redis }) => {
      const [forgotten, ...kept] = fresh(3, OTHER);
      if (!forgotten?.eventId) throw new Error('no interaction');
      const queues = openQueues(redis, 'ckv', PARTITIONS);
      const job = { version: 1, interactions: [forgotten, ...kept] };
      await queues[PARTITION]?.add('record', job, { delay: 3_600_000 });
      await e2e.client.recordInteractions(job.interactions);
      await vi.waitUntil(async () => ((await e2e.recordOf(OTHER))?.lifetimeCount ?? 0) >= 3, { timeout: 20_000 });
      const { eventId } = forgotten;
      const receipt = await e2e.client.forgetInteraction({ ...forgotten, eventId }, { wait: true });
      expect(receipt).toMatchObject({ kind: 'interaction', state: 'done', partial: false, waitingJobCount: 1 });
      expect(receipt.encodings.some(({ positionCount }) => positionCount === 1)).toBe(true);
      const whats = async () => [...new Set((await tracesOf(redis, OTHER, [eventId])).map(({ what }) => what))];
      expect(await whats()).toEqual(['user']); // the ring's entry has its top bit set: it is another hash
      await Promise.all(queues.map((queue) => queue.close()));
    });
  }, 60_000);
});
