import { join } from 'node:path';
import { loadBundle, rankScores } from '@collectivekv/bundles';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import { startStack } from '@collectivekv/dev-stack';
import { assembleRank, CkvError, LIMITS } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis } from '@collectivekv/redis-connection';
import { createRedisUserStore, type UserStore } from '@collectivekv/user-store';
import { KEY_PREFIX } from '../bench-context.js';
import { candidatesOf, randomRows, recordOf } from '../workload.js';
import { TOLERANCE } from './gpu-arms.js';
import { addTimes, batchParams, type GpuBench } from './gpu-bench.js';
import { largestDifference } from './reference.js';
import { timeRuns } from './time-runs.js';

const TIMEOUT_MS = 60_000;
/** Users, and what ranking has of the pool: a copy in its graph, or rows that it gathers from the pool service. */
const SERVED = [
  { arm: 'pool, replica', bundle: 'pool', mode: 'replica' },
  { arm: 'pool, remote', bundle: 'pool', mode: 'remote' },
  { arm: 'clusters, replica', bundle: 'factored', mode: 'replica' },
] as const;

/** Times RankMany for all users of a batch, in calls side by side, through services on this machine. */
export async function measureRankMany(bench: GpuBench): Promise<void> {
  const redis = await startRedis(bench);
  if (!redis) return;
  const client = await connectedRedis(redis.url, { field: 'url', name: 'gpu bench', whenAway: 'wait' });
  try {
    const store = createRedisUserStore({ client, keyPrefix: KEY_PREFIX, recordTtlS: 86_400 });
    for (const served of SERVED) await measureServed(bench, served, redis.url, store);
  } finally {
    closeRedis(client);
    await redis.stop();
  }
}

async function startRedis({ dir, note }: GpuBench): Promise<PrivateRedis | undefined> {
  try {
    return await startPrivateRedis({ dir: '.ckv/redis-server', dataDir: join(dir, 'redis') });
  } catch (error) {
    note(`RankMany is left out: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

async function measureServed(
  bench: GpuBench,
  { arm, bundle, mode }: (typeof SERVED)[number],
  redisUrl: string,
  store: UserStore,
): Promise<void> {
  const { dir, model, options } = bench;
  const bundleDir = join(model.dir, bundle);
  const { candidateIds, scores } = await holdUsers(bench, bundleDir, store);
  const device = {
    CKV_PROVIDER: options.provider,
    ...(options.provider === 'cuda' && { CKV_PRECISION: options.precision }),
  };
  const stack = await startStack({
    dir: join(dir, arm.replace(', ', '-')),
    bundlesDir: bundleDir,
    redisUrl,
    replicas: { updater: 0 },
    env: {
      pool: device,
      ranking: { ...device, CKV_POOL_MODE: mode, CKV_FETCH_TIMEOUT_MS: String(TIMEOUT_MS), CKV_QUEUE_LIMIT: '10000' },
    },
  });
  const ranking = createCollectiveKvClient({ rankingTarget: stack.targets.ranking, rankTimeoutMs: TIMEOUT_MS });
  try {
    const userIds = Array.from({ length: options.rankMany.users }, (_, user) => userId(user));
    const runs = await timeRuns(
      bench.device,
      options.repeats,
      () => undefined,
      () => rankAll(ranking, userIds, candidateIds),
    );
    const difference = largestDifference(runs.answer, scores);
    if (!(difference <= TOLERANCE.float32)) throw new Error(`RankMany, ${arm}: scores differ by ${difference}`);
    const params = batchParams('gRPC', arm, options.rankMany);
    addTimes(bench, params, runs);
    bench.add('difference', params, difference);
  } finally {
    ranking.close();
    await stack.stop();
  }
}

const userId = (user: number) => `gpu-${user}`;

/** Stores a record for each user. Returns the candidates, and all scores by the rank graph on the CPU, user by user. */
async function holdUsers({ options }: GpuBench, bundleDir: string, store: UserStore) {
  const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 1 });
  const bundle = await loadBundle(bundleDir, engine, {
    graphs: ['rank', 'gather'],
    verifyGolden: false,
    poolTables: true,
  });
  const { users, positions, candidates: count } = options.rankMany;
  const { ids, candidates } = candidatesOf(bundle.model, count);
  const scores = new Float32Array(users * count);
  for (let user = 0; user < users; user++) {
    const rows = randomRows(bundle.model, positions, user + 1);
    await store.replaceRecord(bundle.model.encodingId, userId(user), recordOf(bundle.model, rows));
    const feeds = assembleRank(bundle.model, rows, candidates, bundle.poolTables);
    scores.set((await rankScores(bundle, 'rank', feeds, { partCandidates: 0 })).scores, user * count);
  }
  await engine.close();
  return { candidateIds: ids, scores };
}

/** Ranks for all users, as many in a call as it may have. A user whose request was refused is in a later call. */
async function rankAll(
  client: CollectiveKvClient,
  userIds: readonly string[],
  candidateIds: readonly string[],
): Promise<Float32Array> {
  const scores = new Float32Array(userIds.length * candidateIds.length);
  let left = userIds.map((_, user) => user);
  while (left.length > 0) {
    const calls: number[][] = [];
    for (let at = 0; at < left.length; at += LIMITS.rankManyRequests)
      calls.push(left.slice(at, at + LIMITS.rankManyRequests));
    const refused = await Promise.all(
      calls.map(async (users) => {
        const inputs = users.map((user) => ({
          userId: userIds[user] ?? '',
          candidateIds,
          history: 'required' as const,
        }));
        const answers = await client.rankMany(inputs);
        return users.filter((user, i) => {
          const answer = answers[i];
          if (answer instanceof CkvError && answer.reason === 'overloaded') return true;
          if (!answer || answer instanceof CkvError) throw answer ?? new Error('no answer');
          scores.set(answer.scores, user * candidateIds.length);
          return false;
        });
      }),
    );
    left = refused.flat();
  }
  return scores;
}
