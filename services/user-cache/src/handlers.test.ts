// The service's handlers behind a real gRPC server, on a real Redis whose connection a test can stall.
import { decodeRecord, encodeRecord, eventHash, steadyNowMs } from '@collectivekv/domain';
import { openTcpPipe, type PrivateRedis, startTemporaryRedis, type TcpPipe } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { createLogger, createMetrics, type Metrics } from '@collectivekv/service-kit';
import { createRedisUserStore } from '@collectivekv/user-store';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createUserCacheHandlers } from './handlers.js';
import { createUserCacheMetrics } from './metrics.js';

const encodingId = '0123456789abcdef';
const STRIDE_BYTES = 2;

let redis: PrivateRedis;
/** Reaches Redis past the pipe. */
let direct: RedisClient;
let pipe: TcpPipe;
let piped: RedisClient;
let metrics: Metrics;
let server: GrpcServer;
let userCache: GrpcClient<'UserCacheService'>;

beforeAll(async () => {
  redis = await startTemporaryRedis();
  pipe = await openTcpPipe(Number(new URL(redis.url).port));
  const options = { field: 'url', name: 'test', whenAway: 'fail' } as const;
  direct = await connectedRedis(redis.url, options);
  piped = await connectedRedis(`redis://127.0.0.1:${pipe.port}`, options);
  metrics = createMetrics('test');
  server = createGrpcServer({
    bind: '127.0.0.1:0',
    log: createLogger('test', 'silent'),
    metrics,
  });
  const store = createRedisUserStore({ client: piped, keyPrefix: 'test', recordTtlS: 1_000 });
  server.add('UserCacheService', createUserCacheHandlers(store, createUserCacheMetrics(metrics)));
  const { address } = await server.start();
  userCache = createGrpcClient('UserCacheService', address);
});
afterAll(async () => {
  userCache.close();
  await server.drain(0);
  closeRedis(piped);
  closeRedis(direct);
  pipe.close();
  await redis.stop();
});
beforeEach(async () => {
  await direct.flushall();
  metrics.registry.resetMetrics();
});

async function redisNowMs(): Promise<number> {
  const [seconds, microseconds] = (await direct.time()) as [string | number, string | number];
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}

/** Rows [n, n] of a user, with the event id n. */
const appendOf = (userId: string, ...numbers: number[]) => ({
  userId,
  eventHashes: Buffer.concat(numbers.map((n) => eventHash(String(n)))),
  rows: Buffer.from(numbers.flatMap((n) => [n, n])),
  lastEventMs: 1_000,
});
const appendTo = (validUntilMs: number, ...appends: ReturnType<typeof appendOf>[]) =>
  userCache.call('AppendPositions', { encodingId, strideBytes: STRIDE_BYTES, maxPositions: 20, appends, validUntilMs });

async function rowsOf(userId: string): Promise<number[] | undefined> {
  const { records } = await userCache.call('GetRecords', { encodingId, userIds: [userId] });
  const [bytes] = records;
  return bytes?.length ? [...decodeRecord(bytes, { encodingId, strideBytes: STRIDE_BYTES }).rows] : undefined;
}

/** A record with these rows [n, n], without a ring. */
const recordOf = (...numbers: number[]) =>
  Buffer.from(
    encodeRecord({
      encodingId,
      strideBytes: STRIDE_BYTES,
      lifetimeCount: numbers.length,
      lastEventMs: 1,
      recentEvents: new Uint8Array(0),
      rows: Uint8Array.from(numbers.flatMap((n) => [n, n])),
    }),
  );
/** Returns a metric's value; 0 if it was never counted. */
async function sampleOf(name: string, label = ''): Promise<number> {
  const text = await metrics.registry.getSingleMetricAsString(name);
  const line = text.split('\n').find((one) => !one.startsWith('#') && one.includes(label));
  return Number(line?.split(' ').at(-1) ?? 0);
}
const invalid = (field: string) => ({ reason: 'invalid_request', message: expect.stringContaining(`${field}: `) });
const badEncodingIds = ['', 'encoding', '0123456789ABCDEF', '0123456789abcdef0', ' 0123456789abcdef'];

describe('AppendPositions', () => {
  it('appends for several users, and counts positions and duplicates', async () => {
    expect(await appendTo(0, appendOf('u', 1, 2), appendOf('v', 1))).toMatchObject({
      outcomes: [
        { appliedCount: 2, duplicateCount: 0, positionCount: 2, unreadable: false },
        { appliedCount: 1, duplicateCount: 0, positionCount: 1, unreadable: false },
      ],
    });
    expect(await appendTo(0, appendOf('u', 2, 3))).toMatchObject({
      outcomes: [{ appliedCount: 1, duplicateCount: 1, positionCount: 3 }],
    });
    expect(await rowsOf('u')).toEqual([1, 1, 2, 2, 3, 3]);
    expect(await sampleOf('ckv_positions_total', 'outcome="appended"')).toBe(4);
    expect(await sampleOf('ckv_positions_total', 'outcome="duplicate"')).toBe(1);
    expect(await sampleOf('ckv_records_unreadable_total')).toBe(0);
  });

  it('moves an unreadable record away, and counts it', async () => {
    await direct.set(`test:{u}:${encodingId.slice(0, 8)}`, 'garbage');
    expect(await appendTo(0, appendOf('u', 1))).toMatchObject({ outcomes: [{ appliedCount: 1, unreadable: true }] });
    expect(await sampleOf('ckv_records_unreadable_total')).toBe(1);
  });

  it('keeps the newest positions within the bound', async () => {
    const request = { encodingId, strideBytes: STRIDE_BYTES, maxPositions: 2, appends: [appendOf('u', 1, 2, 3)] };
    await userCache.call('AppendPositions', request);
    expect(await rowsOf('u')).toEqual([2, 2, 3, 3]);
  });

  const append = appendOf('u', 1);
  const many = (count: number) => Array.from({ length: count }, (_, i) => ({ ...append, userId: `u${i}` }));
  const request = { encodingId, strideBytes: STRIDE_BYTES, maxPositions: 20, appends: [append], validUntilMs: 0 };
  it.each([
    ['no stride', { strideBytes: 0 }, 'stride_bytes'],
    ['a stride of 65,536', { strideBytes: 65_536 }, 'stride_bytes'],
    ['no position', { maxPositions: 0 }, 'max_positions'],
    ['1,000,001 positions', { maxPositions: 1_000_001 }, 'max_positions'],
    ['no appends', { appends: [] }, 'appends'],
    ['1,025 appends', { appends: many(1_025) }, 'appends'],
    ['a duplicated user', { appends: [append, appendOf('v', 1), append] }, 'appends[2].user_id'],
    ['no user', { appends: [append, { ...append, userId: '' }] }, 'appends[1].user_id'],
    ['a user id of 257 bytes', { appends: [{ ...append, userId: 'x'.repeat(257) }] }, 'appends[0].user_id'],
    ['no time', { appends: [{ ...append, lastEventMs: 0 }] }, 'appends[0].last_event_ms'],
    ['a time beyond 48 bits', { appends: [{ ...append, lastEventMs: 2 ** 48 }] }, 'appends[0].last_event_ms'],
    ['half a row', { appends: [{ ...append, rows: Buffer.alloc(1) }] }, 'appends[0].rows'],
  ])('refuses %s', async (_, bad, field) => {
    await expect(userCache.call('AppendPositions', { ...request, ...bad })).rejects.toMatchObject(invalid(field));
    expect(await direct.dbsize()).toBe(0);
  });

  it.each([
    ['the shortest row and the earliest time', 1, { ...append, rows: Buffer.alloc(1), lastEventMs: 1 }, 1],
    [
      'the longest row and the latest time',
      65_535,
      { ...append, rows: Buffer.alloc(65_535), lastEventMs: 2 ** 48 - 1 },
      1_000_000,
    ],
  ])('accepts %s', async (_, strideBytes, one, maxPositions) => {
    const { outcomes } = await userCache.call('AppendPositions', {
      ...request,
      strideBytes,
      maxPositions,
      appends: [one],
    });
    expect(outcomes).toMatchObject([{ appliedCount: 1 }]);
  });

  it('accepts 1,024 users', async () => {
    const { outcomes } = await userCache.call('AppendPositions', { ...request, appends: many(1_024) });
    expect(outcomes.length).toBe(1_024);
  });
});

describe('AppendPositions with a fence', () => {
  const refused = { reason: 'deadline', message: expect.stringContaining('valid_until_ms') };

  it('refuses an append that Redis receives after the end of its fence, though user-cache sent it before', async () => {
    const validUntilMs = (await redisNowMs()) + 200;
    pipe.hold();
    const outcome = appendTo(validUntilMs, appendOf('u', 1)).catch((error) => error);
    await vi.waitUntil(() => pipe.heldBytes() > 0);
    await vi.waitUntil(async () => (await redisNowMs()) > validUntilMs);
    pipe.release();
    expect(await outcome).toMatchObject(refused);
    expect(await rowsOf('u')).toBeUndefined();
    expect(await sampleOf('ckv_positions_total', 'outcome="appended"')).toBe(0);
  });

  it('applies an append that Redis receives before the end of its fence, however long it was under way', async () => {
    pipe.hold();
    const outcome = appendTo((await redisNowMs()) + 3_600_000, appendOf('u', 1));
    await vi.waitUntil(() => pipe.heldBytes() > 0);
    pipe.release();
    expect(await outcome).toMatchObject({ outcomes: [{ appliedCount: 1 }] });
  });

  it.each([
    ['an hour behind', -3_600_000],
    ['an hour ahead', 3_600_000],
  ])("ends the fence by Redis's clock while user-cache's own clock is %s", async (_, offsetMs) => {
    const nowMs = await redisNowMs();
    const systemMs = Date.now;
    vi.spyOn(Date, 'now').mockImplementation(() => systemMs() + offsetMs);
    try {
      const call = (validUntilMs: number, n: number) =>
        userCache.call(
          'AppendPositions',
          { encodingId, strideBytes: STRIDE_BYTES, maxPositions: 20, appends: [appendOf('u', n)], validUntilMs },
          { deadlineMs: steadyNowMs() + 20_000 },
        );
      expect(await call(nowMs + 60_000, 1)).toMatchObject({ outcomes: [{ appliedCount: 1 }] });
      await expect(call(nowMs - 1, 2)).rejects.toMatchObject(refused);
    } finally {
      vi.restoreAllMocks();
    }
  });
});

describe('GetRecords', () => {
  it('reads records in the order of the users, empty for a user without one, and counts both', async () => {
    await appendTo(0, appendOf('u', 1));
    const { records } = await userCache.call('GetRecords', { encodingId, userIds: ['nobody', 'u', 'no one'] });
    expect(records.map(({ length }) => length > 0)).toEqual([false, true, false]);
    expect(await sampleOf('ckv_record_reads_total', 'found="true"')).toBe(1);
    expect(await sampleOf('ckv_record_reads_total', 'found="false"')).toBe(2);
  });

  const many = (count: number) => Array.from({ length: count }, (_, i) => `u${i}`);
  it.each([
    ['no users', [], 'user_ids'],
    ['513 users', many(513), 'user_ids'],
    ['an empty user id', ['u', ''], 'user_ids[1]'],
  ])('refuses %s', async (_, userIds, field) => {
    await expect(userCache.call('GetRecords', { encodingId, userIds })).rejects.toMatchObject(invalid(field));
  });

  it('accepts 512 users', async () => {
    expect((await userCache.call('GetRecords', { encodingId, userIds: many(512) })).records.length).toBe(512);
  });
});

describe('ReplaceRecord', () => {
  it('replaces a record', async () => {
    await appendTo(0, appendOf('u', 1, 2));
    await userCache.call('ReplaceRecord', { encodingId, userId: 'u', record: recordOf(7) });
    expect(await rowsOf('u')).toEqual([7, 7]);
  });

  it.each([
    ['bytes that are not a record', Buffer.from('garbage'), 'record'],
    ['a truncated record', recordOf(7).subarray(0, -1), 'record'],
    ['no bytes', Buffer.alloc(0), 'record'],
  ])('refuses %s', async (_, record, field) => {
    const replace = userCache.call('ReplaceRecord', { encodingId, userId: 'u', record });
    await expect(replace).rejects.toMatchObject(invalid(field));
    await expect(replace).rejects.toMatchObject({ message: expect.not.stringContaining('record: record is') });
    expect(await rowsOf('u')).toBeUndefined();
  });

  it("refuses another encoding's record", async () => {
    const replace = userCache.call('ReplaceRecord', { encodingId: 'f'.repeat(16), userId: 'u', record: recordOf(7) });
    await expect(replace).rejects.toMatchObject(invalid('record'));
  });

  it('refuses an empty user id', async () => {
    const replace = userCache.call('ReplaceRecord', { encodingId, userId: '', record: recordOf(7) });
    await expect(replace).rejects.toMatchObject(invalid('user_id'));
  });
});

describe('DeleteRecord', () => {
  it("deletes a user's records of every encoding, and counts them", async () => {
    await appendTo(0, appendOf('u', 1), appendOf('v', 1));
    const encodings = [{ encodingId, record: true, unreadable: false, positionCount: 1 }];
    const keeping = { userId: 'u', keepRecords: true };
    expect(await userCache.call('DeleteRecord', keeping)).toEqual({ deletedCount: 0, encodings });
    expect(await userCache.call('DeleteRecord', { userId: 'u' })).toEqual({ deletedCount: 1, encodings });
    expect(await userCache.call('DeleteRecord', { userId: 'u' })).toEqual({ deletedCount: 0, encodings: [] });
    expect(await rowsOf('v')).toEqual([1, 1]);
  });

  it('looks for the named encodings too', async () => {
    await appendTo(0, appendOf('u', 1));
    await direct.del('test:encodings');
    const request = { userId: 'u', encodingIds: [encodingId] };
    expect(await userCache.call('DeleteRecord', request)).toMatchObject({ deletedCount: 1 });
  });

  it('refuses a deletion whose fence has ended', async () => {
    await appendTo(0, appendOf('u', 1));
    const late = { userId: 'u', validUntilMs: (await redisNowMs()) - 1 };
    await expect(userCache.call('DeleteRecord', late)).rejects.toMatchObject({ reason: 'deadline' });
    expect(await rowsOf('u')).toEqual([1, 1]);
  });

  it('refuses an empty user id', async () => {
    await expect(userCache.call('DeleteRecord', { userId: '' })).rejects.toMatchObject(invalid('user_id'));
  });
});

describe('DeletePosition', () => {
  const none = Buffer.alloc(0);
  const request = { encodingId, userId: 'u', eventHash: Buffer.from(eventHash('1')), row: none, rowTolerance: none };

  it('deletes by the event, and by the content within the tolerance', async () => {
    await userCache.call('ReplaceRecord', { encodingId, userId: 'u', record: recordOf(5) }); // older than the ring
    await appendTo(0, appendOf('u', 1, 2));
    expect(await userCache.call('DeletePosition', request)).toEqual({
      deleted: true,
      positionCount: 2,
      eventKnown: true,
      laterCount: 1,
      unreadable: false,
    });
    expect(await userCache.call('DeletePosition', request)).toMatchObject({ deleted: false, positionCount: 2 });
    const old = { ...request, eventHash: Buffer.from(eventHash('old')), row: Buffer.of(5, 6) };
    expect(await userCache.call('DeletePosition', old)).toMatchObject({ deleted: false, positionCount: 2 });
    const near = { ...old, rowTolerance: Buffer.of(0, 1) };
    expect(await userCache.call('DeletePosition', near)).toMatchObject({ deleted: true, positionCount: 1 });
  });

  it('refuses a deletion after the end of its fence', async () => {
    await appendTo(0, appendOf('u', 1));
    const late = userCache.call('DeletePosition', { ...request, validUntilMs: (await redisNowMs()) - 1 });
    await expect(late).rejects.toMatchObject({
      reason: 'deadline',
      message: expect.stringContaining('valid_until_ms'),
    });
    const early = { ...request, validUntilMs: (await redisNowMs()) + 60_000 };
    expect(await userCache.call('DeletePosition', early)).toMatchObject({ deleted: true, positionCount: 0 });
  });

  it('throws user_not_found for a user without a record', async () => {
    await expect(userCache.call('DeletePosition', request)).rejects.toMatchObject({ reason: 'user_not_found' });
  });

  it.each([
    ['a short hash', { eventHash: Buffer.alloc(5) }, 'event_hash'],
    ['a long hash', { eventHash: Buffer.alloc(7) }, 'event_hash'],
    ['a row of 65,536 bytes', { row: Buffer.alloc(65_536) }, 'row'],
    ['a tolerance without a row', { rowTolerance: Buffer.of(1) }, 'row_tolerance'],
    ['a tolerance shorter than the row', { row: Buffer.of(1, 2), rowTolerance: Buffer.of(1) }, 'row_tolerance'],
    ['an empty user id', { userId: '' }, 'user_id'],
  ])('refuses %s', async (_, bad, field) => {
    await expect(userCache.call('DeletePosition', { ...request, ...bad })).rejects.toMatchObject(invalid(field));
  });
});

describe('Stats', () => {
  it('counts the records of one encoding or of all, up to a bound', async () => {
    await appendTo(0, appendOf('u', 1, 2), appendOf('v', 1));
    await userCache.call('ReplaceRecord', { encodingId, userId: 'w', record: recordOf(7) });
    const all = await userCache.call('Stats', { encodingId: '', maxRecords: 0 });
    expect(all).toMatchObject({ recordCount: 3, positionCount: 4, lifetimeCount: 4, truncated: false });
    const other = await userCache.call('Stats', { encodingId: 'f'.repeat(16), maxRecords: 0 });
    expect(other).toMatchObject({ recordCount: 0, truncated: false });
    expect(await userCache.call('Stats', { encodingId, maxRecords: 2 })).toMatchObject({
      recordCount: 2,
      truncated: true,
    });
  });

  it('refuses a bound beyond 1,000,000', async () => {
    const stats = userCache.call('Stats', { encodingId, maxRecords: 1_000_001 });
    await expect(stats).rejects.toMatchObject(invalid('max_records'));
  });
});

it.each(badEncodingIds)('every method with an encoding id refuses "%s"', async (bad) => {
  const none = Buffer.alloc(0);
  const eventHash = Buffer.alloc(6);
  const calls: Promise<unknown>[] = [
    userCache.call('GetRecords', { encodingId: bad, userIds: ['u'] }),
    userCache.call('AppendPositions', {
      encodingId: bad,
      strideBytes: 2,
      maxPositions: 2,
      appends: [appendOf('u', 1)],
    }),
    userCache.call('ReplaceRecord', { encodingId: bad, userId: 'u', record: recordOf(7) }),
    userCache.call('DeletePosition', { encodingId: bad, userId: 'u', eventHash, row: none, rowTolerance: none }),
    ...(bad === '' ? [] : [userCache.call('Stats', { encodingId: bad, maxRecords: 0 })]),
  ];
  for (const call of calls) call.catch(() => undefined); // each is awaited below
  for (const call of calls) await expect(call).rejects.toMatchObject(invalid('encoding_id'));
});
