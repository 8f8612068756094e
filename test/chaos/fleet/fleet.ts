import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ServiceProcess, type ServiceProcessName, startServiceProcess } from '@collectivekv/dev-stack';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createHops, type HopName, type Hops } from './hops.js';
import { type RedisForm, type RunningRedis, singleRedis } from './redis-form.js';

/** Variables of a process. */
export type Env = Readonly<Record<string, string>>;

/** What a fleet consists of. */
export interface FleetSpec {
  readonly redis: RedisForm;
  /** A bundle folder, or a folder of bundle folders. */
  readonly bundlesDir: string;
  /** One entry for each replica: its further variables. */
  readonly replicas: Readonly<Record<ServiceProcessName, readonly Env[]>>;
  /**
   * Starts a replica. Default: as a process on this machine with these variables. For faults that need another
   * environment, such as another clock.
   */
  readonly startProcess?: (
    options: Parameters<typeof startServiceProcess>[0],
    replica: number,
  ) => Promise<ServiceProcess>;
}

/** All services as processes, with a pipe on every hop. */
export interface Fleet {
  /** Folder of everything that is written: `logs`, `cache`, `redis`. */
  readonly dir: string;
  readonly spec: FleetSpec;
  readonly redis: RunningRedis;
  readonly services: Readonly<Record<ServiceProcessName, readonly ServiceProcess[]>>;
  readonly hops: Hops;
  /** What backends call: through the pipes. */
  readonly targets: { readonly ranking: string; readonly updater: string };
  /** The oracle's own connection to Redis, around the pipes. Its commands wait while Redis is away. */
  readonly reader: RedisClient;
  /** The same to the Redis of the queue. */
  readonly queueReader: RedisClient;
  stop(): Promise<void>;
}

/** Folder of the demo bundle, relative to the built file. */
export const DEMO_BUNDLE = fileURLToPath(new URL('../../../../bundles/demo', import.meta.url));
/** Folder of small bundles of every family. */
export const FIXTURE_BUNDLES = fileURLToPath(new URL('../../../fixtures/bundles', import.meta.url));

/** Two replicas of what backends and updaters call. The ranking replicas differ: every hop exists. */
export const DEFAULT_FLEET: FleetSpec = {
  redis: singleRedis('always'),
  bundlesDir: DEMO_BUNDLE,
  replicas: {
    pool: [{}],
    'user-cache': [{}, {}],
    ranking: [{}, { CKV_POOL_MODE: 'remote', CKV_RECORD_READS: 'user-cache' }],
    updater: [{}, {}],
  },
};

/** Starts a fleet. Resolves when all services are ready. */
export async function startFleet(spec: FleetSpec): Promise<Fleet> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-chaos-'));
  const hops = createHops();
  const stops: (() => unknown)[] = [];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    return await start();
  } catch (error) {
    await stop();
    throw error;
  }

  async function start(): Promise<Fleet> {
    const redisDir = join(dir, 'redis');
    await mkdir(redisDir, { recursive: true });
    const redis = await spec.redis.start(redisDir);
    stops.push(() => redis.stop());
    const reader = await connectedRedis(redis.url, { field: 'url', name: 'chaos-oracle', whenAway: 'wait' });
    stops.push(() => closeRedis(reader));
    const queueUrl = redis.queueUrl ?? redis.url;
    const queueReader = await connectedRedis(queueUrl, { field: 'url', name: 'chaos-oracle', whenAway: 'wait' });
    stops.push(() => closeRedis(queueReader));
    stops.push(() => hops.close());

    const throughPipe = async (name: HopName, from: number, url: string) =>
      redis.port === undefined ? url : `redis://${await hops.lead(name, from, [new URL(url).host])}`;
    const addressesOf = (replicas: readonly ServiceProcess[]) => replicas.map(({ address }) => address);

    const [pool, userCache] = await Promise.all([
      startReplicas('pool', async (i) => ({ CKV_BUNDLES_DIR: spec.bundlesDir, CKV_STATE_DIR: join(dir, `pool-${i}`) })),
      startReplicas('user-cache', async (i) => ({
        CKV_REDIS_URL: await throughPipe('user-cache-redis', i, redis.url),
      })),
    ]);
    const [ranking, updater] = await Promise.all([
      startReplicas('ranking', async (i) => ({
        CKV_POOL_TARGET: await hops.lead('ranking-pool', i, addressesOf(pool)),
        CKV_USER_CACHE_TARGET: await hops.lead('ranking-user-cache', i, addressesOf(userCache)),
        CKV_REDIS_URL: await throughPipe('ranking-redis', i, redis.url),
      })),
      startReplicas('updater', async (i) => ({
        CKV_POOL_TARGET: await hops.lead('updater-pool', i, addressesOf(pool)),
        CKV_USER_CACHE_TARGET: await hops.lead('updater-user-cache', i, addressesOf(userCache)),
        CKV_QUEUE_REDIS_URL: await throughPipe('updater-redis', i, queueUrl),
      })),
    ]);
    const services = { pool, 'user-cache': userCache, ranking, updater };
    await Promise.all(Object.values(services).flatMap((replicas) => replicas.map((one) => one.untilReady())));
    return {
      dir,
      spec,
      redis,
      services,
      hops,
      targets: {
        ranking: await hops.lead('backend-ranking', 0, addressesOf(ranking)),
        updater: await hops.lead('backend-updater', 0, addressesOf(updater)),
      },
      reader,
      queueReader,
      stop,
    };
  }

  async function startReplicas(
    name: ServiceProcessName,
    envOf: (replica: number) => Promise<Env>,
  ): Promise<ServiceProcess[]> {
    const starting = spec.replicas[name].map(async (own, i) => {
      const options = {
        name,
        logFile: join(dir, 'logs', `${name}-${i}.log`),
        env: {
          CKV_BIND: '127.0.0.1:0',
          CKV_CACHE_DIR: join(dir, 'cache', `${name}-${i}`),
          ...(await envOf(i)),
          ...own,
        },
      };
      const service = await (spec.startProcess?.(options, i) ?? startServiceProcess(options));
      stops.push(() => service.stop());
      return service;
    });
    return Promise.all(starting);
  }
}
