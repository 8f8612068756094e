import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { type CollectiveKvClient, createCollectiveKvClient, type InteractionInput } from '@collectivekv/client';
import { type Stack, type StackOptions, startServiceProcess, startStack } from '@collectivekv/dev-stack';
import { type BundleModel, decodeRecord, encodeRecord, partitionOf, type UserRecord } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { inspectQueue, type QueueInspection } from '@collectivekv/update-queue';
import { expect, vi } from 'vitest';

/** Folder of the demo bundle. */
export const DEMO_BUNDLE = fileURLToPath(new URL('../../bundles/demo', import.meta.url));
/** Partitions of every stack's queue. */
export const PARTITIONS = 16;

/** A stack with clients, for one test file. */
export interface E2eStack {
  /** Folder of all files that the stack writes. */
  readonly dir: string;
  readonly stack: Stack;
  readonly client: CollectiveKvClient;
  readonly userCache: GrpcClient<'UserCacheService'>;
  readonly pool: GrpcClient<'PoolService'>;
  /** The bundle on an engine of this process. It computes the expected rows. */
  readonly bundle: LoadedBundle;
  /** Reads a user's record; undefined if the user has none. */
  recordOf(userId: string): Promise<UserRecord | undefined>;
  /** Waits until a user's record has had at least `lifetimeCount` interactions, 30 s by default. */
  untilApplied(userId: string, lifetimeCount: number, timeoutMs?: number): Promise<UserRecord>;
  /** Encodes interactions to rows. If the bundle encodes with history, they must be one user's, in order. */
  rowsOf(interactions: readonly InteractionInput[]): Promise<Buffer>;
  /** Expects a record to hold the rows of the interactions: the newest, if they are more than a record may have. */
  expectRows(record: UserRecord, interactions: readonly InteractionInput[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts a stack in a new folder.
 * @param bundleDir the bundle to serve, unless `options.bundlesDir` is given
 */
export async function startE2e(options: Partial<StackOptions> = {}, bundleDir = DEMO_BUNDLE): Promise<E2eStack> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-e2e-'));
  const stack = await startStack({ dir, bundlesDir: bundleDir, expectDeaths: true, ...options });
  const client = createCollectiveKvClient({
    rankingTarget: stack.targets.ranking,
    interactionTarget: stack.targets.updater,
    rankTimeoutMs: 10_000,
    recordTimeoutMs: 30_000,
    maxAttempts: 100,
  });
  const userCache = createGrpcClient('UserCacheService', stack.targets['user-cache']);
  const pool = createGrpcClient('PoolService', stack.targets.pool);
  const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 64 });
  const bundle = await loadBundle(bundleDir, engine, { graphs: ['encode', 'rank', 'rankKv'], verifyGolden: false });
  const { model } = bundle;

  async function recordOf(userId: string): Promise<UserRecord | undefined> {
    const { records } = await userCache.call('GetRecords', { encodingId: model.encodingId, userIds: [userId] });
    const [bytes] = records;
    return bytes?.length
      ? decodeRecord(bytes, { encodingId: model.encodingId, strideBytes: model.layout.strideBytes })
      : undefined;
  }

  async function rowsOf(interactions: readonly InteractionInput[]): Promise<Buffer> {
    const complete = interactions.map((one) => ({ eventId: '', timestampMs: 1, action: '', features: {}, ...one }));
    return Buffer.from(await encodeRows(bundle, complete));
  }

  return {
    dir,
    stack,
    client,
    userCache,
    pool,
    bundle,
    recordOf,
    async untilApplied(userId, lifetimeCount, timeoutMs = 30_000) {
      let record: UserRecord | undefined;
      await vi.waitUntil(
        async () => {
          record = await recordOf(userId).catch(() => undefined); // the user-cache may be down at the moment
          return (record?.lifetimeCount ?? 0) >= lifetimeCount;
        },
        { timeout: timeoutMs, interval: 20 },
      );
      if (!record) throw new Error(`${userId} has no record`);
      return record;
    },
    rowsOf,
    async expectRows({ rows, strideBytes }, interactions) {
      const wanted = (await rowsOf(interactions)).subarray(-model.manifest.maxPositions * strideBytes);
      expect(Buffer.from(rows).equals(wanted), `rows of ${interactions[0]?.userId}`).toBe(true);
    },
    async close() {
      client.close();
      userCache.close();
      pool.close();
      await engine.close();
      await stack.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A ranking service beside those of a stack, with a client. */
export interface OtherRanking {
  readonly address: string;
  /** host:port of its metrics. */
  readonly metricsAddress: string;
  readonly client: CollectiveKvClient;
  close(): Promise<void>;
}

/** Starts a ranking service with another configuration than the stack's. */
export async function startOtherRanking(
  { redisUrl, targets }: Stack,
  env: Readonly<Record<string, string>>,
): Promise<OtherRanking> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-ranking-'));
  const service = await startServiceProcess({
    name: 'ranking',
    logFile: join(dir, 'ranking.log'),
    env: {
      CKV_BIND: '127.0.0.1:0',
      CKV_CACHE_DIR: join(dir, 'cache'),
      CKV_POOL_TARGET: targets.pool,
      CKV_REDIS_URL: redisUrl,
      CKV_USER_CACHE_TARGET: targets['user-cache'],
      ...env,
    },
  });
  await service.untilReady();
  const client = createCollectiveKvClient({ rankingTarget: service.address, rankTimeoutMs: 10_000 });
  return {
    address: service.address,
    metricsAddress: service.metricsAddress,
    client,
    async close() {
      client.close();
      await service.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/**
 * Returns `count` interactions of a user with items of the demo's catalogue. An event id ends with the event's index.
 */
export function interactionsOf(userId: string, count: number, from = 0): InteractionInput[] {
  const actions = ['skip', 'click', 'like'];
  return Array.from({ length: count }, (_, i) => ({
    eventId: `${userId}-${from + i}`,
    userId,
    itemId: `i${String(((from + i) * 37) % 2_000).padStart(4, '0')}`,
    timestampMs: 1_700_000_000_000 + (from + i) * 1_000,
    action: actions[(from + i) % 3] ?? '',
    features: { watch_ratio: ((from + i) % 11) / 10 },
  }));
}

/** Returns `count` user ids of a partition. Each begins with `prefix`. */
export function usersOfPartition(partition: number, count: number, prefix: string): string[] {
  const users: string[] = [];
  for (let i = 0; users.length < count; i++) {
    if (partitionOf(`${prefix}-${i}`, PARTITIONS) === partition) users.push(`${prefix}-${i}`);
  }
  return users;
}

/** Returns the key of a user's record in Redis. */
export function keyOf({ encodingId }: Pick<BundleModel, 'encodingId'>, userId: string): string {
  return `ckv:{${userId}}:${encodingId.slice(0, 8)}`;
}

/** Returns an empty record of another encoding. The user-cache refuses to append to it. */
export function foreignRecord({ layout }: BundleModel): Buffer {
  const record = encodeRecord({
    encodingId: 'f'.repeat(16),
    strideBytes: layout.strideBytes,
    lifetimeCount: 0,
    lastEventMs: 0,
    recentEvents: new Uint8Array(0),
    rows: new Uint8Array(0),
  });
  return Buffer.from(record);
}

/** Runs `work` with a stack's Redis and its queue, and closes both. */
export async function withQueue(
  { stack }: E2eStack,
  work: (queue: { inspection: QueueInspection; redis: RedisClient }) => Promise<void>,
): Promise<void> {
  const redis = await connectedRedis(stack.redisUrl, { field: 'url', name: 'test', whenAway: 'wait' });
  const inspection = inspectQueue({ client: redis, keyPrefix: 'ckv', partitionCount: PARTITIONS });
  try {
    await work({ inspection, redis });
  } finally {
    await inspection.close();
    closeRedis(redis);
  }
}
