import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import {
  isBeingWarmed,
  isClaimed,
  openEncodingClaims,
  openRecordEncodings,
  openWarmings,
  type RecordEncodings,
} from '@collectivekv/update-queue';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { removeOldRecords } from './old-records.js';
import {
  alone,
  append,
  behind,
  bench,
  interactionsOf,
  upTo,
  useRecordWriter,
  writerFor,
} from './record-writer.fixture.js';

const GRACE_MS = 100_000;
const KEY = '{ckv}:record-encodings-by-time';
const OLD = behind.model.encodingId;

useRecordWriter();
let server: PrivateRedis;
let redis: RedisClient;
let encodings: RecordEncodings;
let followed: (typeof alone)[];
let announcedIds: string[];
const log = { info: vi.fn() };

beforeAll(async () => {
  server = await startTemporaryRedis({ fsync: 'no' });
  redis = await connectedRedis(server.url, { field: 'url', name: 'test', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(redis);
  await server.stop();
});
beforeEach(async () => {
  encodings = openRecordEncodings(redis, 'ckv');
  followed = [alone];
  announcedIds = [alone.model.id];
  await append(writerFor(behind, alone), interactionsOf('u', upTo(3)), interactionsOf('v', upTo(2)));
  await notedBefore(OLD, GRACE_MS + 1_000);
});
afterEach(async () => {
  await redis.flushall();
  log.info.mockClear();
});

/** Notes an encoding as if that was some time ago. */
async function notedBefore(encodingId: string, ms: number): Promise<void> {
  const [seconds] = await redis.time();
  await redis.zadd(KEY, Number(seconds) * 1_000 - ms, encodingId);
}

const warmings = () => openWarmings({ client: redis, keyPrefix: 'ckv', partitionCount: 1 });
const claims = () => openEncodingClaims(redis, 'ckv');
async function claim() {
  const taken = await claims().take(OLD, 'ckv backfill');
  if (!isClaimed(taken)) throw new Error(`held by ${taken.holder}`);
  return taken;
}
const remove = (signal = new AbortController().signal) =>
  removeOldRecords({
    bundles: {
      all: () => followed,
      announced: () => announcedIds.map((bundleId) => ({ bundleId, state: 'previous', shareBp: 0, recordsChange: 0 })),
    },
    recordEncodings: encodings,
    claims: claims(),
    isBeingWarmed: (encodingId) => isBeingWarmed(redis, 'ckv', encodingId),
    forgetFinished: warmings().end,
    userCache: bench.userCache,
    graceMs: GRACE_MS,
    pauseMs: 0,
    log,
    signal,
  });
const usersWith = async (encodingId: string) =>
  (await bench.store.getRecords(encodingId, ['u', 'v'])).filter((record) => record !== undefined).length;

it('removes the records of an encoding that nobody has followed for the grace time, and forgets the encoding', async () => {
  expect(await remove()).toBe(2);
  expect([await usersWith(OLD), await usersWith(alone.model.encodingId)]).toEqual([0, 2]);
  expect(await encodings.all()).toEqual([alone.model.encodingId]);
  expect(log.info.mock.calls).toEqual([[{ encodingId: OLD, count: 2 }, expect.any(String)]]);
  expect(await remove()).toBe(0);
});

it('keeps records within the grace time, so that a rollback finds them', async () => {
  await notedBefore(OLD, GRACE_MS - 20_000);
  expect(await remove()).toBe(0);
  expect(await usersWith(OLD)).toBe(2);
});

it('keeps the records of every followed encoding, however long nothing was appended', async () => {
  followed = [alone, behind];
  announcedIds = [alone.model.id, behind.model.id];
  expect(await remove()).toBe(0);
  expect(await usersWith(OLD)).toBe(2);
  expect(await encodings.stale(GRACE_MS)).toEqual([]);
});

it('removes nothing while an announced bundle is not loaded, or none is announced', async () => {
  announcedIds = [alone.model.id, behind.model.id];
  expect(await remove()).toBe(0);
  [followed, announcedIds] = [[], []];
  expect(await remove()).toBe(0);
  expect(await usersWith(OLD)).toBe(2);
});

it('leaves the records of an encoding alone while a backfill of it runs, or waits to go on', async () => {
  const held = await claim();
  expect(await remove()).toBe(0);
  await warmings().begin(held, { bundleId: 'b', source: 'files', digest: '', rowCount: 0 });
  await held.release();
  expect(await remove()).toBe(0);
  expect(await usersWith(OLD)).toBe(2);
  const again = await claim();
  await warmings().end(again);
  await again.release();
  expect(await remove()).toBe(2);
});

it('forgets that a backfill had completed the records', async () => {
  const finished = JSON.stringify({ bundleId: 'b', source: 'log', digest: '', rowCount: 0 });
  await redis.hset('{ckv}:finished-warmings', OLD, `1700000000 ${finished}`);
  expect(await warmings().finished(OLD)).toMatchObject({ source: 'log', finishedAtMs: 1_700_000_000_000 });
  expect(await remove()).toBe(2);
  expect(await warmings().finished(OLD)).toBeUndefined();
});

it('fences its calls, and keeps the claim until a call that failed cannot arrive any more', async () => {
  const { userCache } = bench;
  const fences: number[] = [];
  const broken = {
    async call(_: string, { validUntilMs }: { validUntilMs: number }) {
      fences.push(validUntilMs);
      throw new Error('no answer');
    },
  };
  bench.userCache = broken as unknown as typeof userCache;
  try {
    await expect(remove()).rejects.toThrow('no answer');
    const taken = await claims().take(OLD, 'ckv backfill');
    if (isClaimed(taken)) throw new Error('the claim was given back');
    expect(fences[0]).toBeLessThan(taken.endsMs);
  } finally {
    bench.userCache = userCache;
  }
});

it('stops as soon as the encoding is followed again', async () => {
  const { userCache } = bench;
  const sweeps: string[] = [];
  const slow = {
    async call(method: string, request: { cursor: string }) {
      sweeps.push(request.cursor);
      await encodings.note([OLD]); // another updater follows it
      return { nextCursor: '0-7', droppedCount: 1, method };
    },
  };
  bench.userCache = slow as unknown as typeof userCache;
  try {
    expect(await remove()).toBe(1);
    expect(sweeps).toEqual(['']);
    expect(await encodings.all()).toContain(OLD);
  } finally {
    bench.userCache = userCache;
  }
});
