// The service's handlers behind a real gRPC server, on a real Redis whose connection a test can stall.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeRecord, eventHash } from '@collectivekv/domain';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { createLogger, createMetrics, type Metrics } from '@collectivekv/service-kit';
import { createRedisUserStore } from '@collectivekv/user-store';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createUserCacheHandlers } from './handlers.js';
import { createUserCacheMetrics } from './metrics.js';
import { openStallingPipe, type StallingPipe } from './stalling-pipe.fixture.js';

const bundleId = '0123456789abcdef';
const STRIDE_BYTES = 2;

let dir: string;
let redis: PrivateRedis;
/** Reaches Redis past the pipe. */
let direct: RedisClient;
let pipe: StallingPipe;
let piped: RedisClient;
let metrics: Metrics;
let server: GrpcServer;
let userCache: GrpcClient<'UserCacheService'>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-user-cache-'));
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
  pipe = await openStallingPipe(Number(new URL(redis.url).port));
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
  await rm(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  await direct.flushall();
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
  userCache.call('AppendPositions', { bundleId, strideBytes: STRIDE_BYTES, maxPositions: 20, appends, validUntilMs });

async function rowsOf(userId: string): Promise<number[] | undefined> {
  const { records } = await userCache.call('GetRecords', { bundleId, userIds: [userId] });
  const [bytes] = records;
  return bytes?.length ? [...decodeRecord(bytes, { bundleId, strideBytes: STRIDE_BYTES }).rows] : undefined;
}

describe('AppendPositions with a fence', () => {
  const refused = { reason: 'deadline', message: expect.stringContaining('valid_until_ms') };

  it('refuses an append that Redis receives after the fence, though user-cache sent it before', async () => {
    const validUntilMs = (await redisNowMs()) + 200;
    pipe.stall();
    const outcome = appendTo(validUntilMs, appendOf('u', 1)).catch((error) => error);
    await vi.waitUntil(() => pipe.heldBytes() > 0);
    await vi.waitUntil(async () => (await redisNowMs()) > validUntilMs);
    pipe.release();
    expect(await outcome).toMatchObject(refused);
    expect(await rowsOf('u')).toBeUndefined();
  });
});
