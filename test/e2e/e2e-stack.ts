import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { type CollectiveKvClient, createCollectiveKvClient, type InteractionInput } from '@collectivekv/client';
import { type Stack, type StackOptions, startServiceProcess, startStack } from '@collectivekv/dev-stack';
import { decodeRecord, type UserRecord } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { vi } from 'vitest';

/** The demo bundle's folder. */
export const DEMO_BUNDLE = fileURLToPath(new URL('../../bundles/demo', import.meta.url));
/** No token, no TLS. */

/** A stack with clients, for one test file. */
export interface E2eStack {
  readonly stack: Stack;
  readonly client: CollectiveKvClient;
  readonly userCache: GrpcClient<'UserCacheService'>;
  readonly pool: GrpcClient<'PoolService'>;
  /** The bundle, on this process's own engine: what rows should be. */
  readonly bundle: LoadedBundle;
  /** A user's record; undefined where there is none. */
  recordOf(userId: string): Promise<UserRecord | undefined>;
  /** Waits until a user's record has had so many interactions. */
  untilApplied(userId: string, lifetimeCount: number, timeoutMs?: number): Promise<UserRecord>;
  /** The rows that interactions encode to; those of one user, in order, where the bundle encodes with history. */
  rowsOf(interactions: readonly InteractionInput[]): Promise<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Starts a stack in a folder of its own.
 * @param bundleDir the bundle that it serves, where `bundlesDir` says nothing else
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
    const { records } = await userCache.call('GetRecords', { bundleId: model.id, userIds: [userId] });
    const [bytes] = records;
    return bytes?.length
      ? decodeRecord(bytes, { bundleId: model.id, strideBytes: model.layout.strideBytes })
      : undefined;
  }

  return {
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
          record = await recordOf(userId).catch(() => undefined); // a part may be down right now
          return (record?.lifetimeCount ?? 0) >= lifetimeCount;
        },
        { timeout: timeoutMs, interval: 20 },
      );
      if (!record) throw new Error('no record');
      return record;
    },
    async rowsOf(interactions) {
      const complete = interactions.map((one) => ({
        eventId: '',
        timestampMs: 1,
        action: '',
        features: {},
        ...one,
      }));
      return encodeRows(bundle, complete);
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

/** A ranking service beside a stack's own, with a client. */
export interface OtherRanking {
  readonly address: string;
  readonly client: CollectiveKvClient;
  close(): Promise<void>;
}

/** Starts a ranking service that is configured otherwise than the stack's own. */
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
    client,
    async close() {
      client.close();
      await service.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** `count` interactions of a user with items of the demo's catalogue, each event named for its place. */
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
