import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, redisTlsFrom } from '@collectivekv/redis-connection';
import { orAborted } from './or-aborted.js';
import { removeKeys } from './remove-keys.js';
import { SERVICE_NAMES, type ServiceProcess, type ServiceProcessName, startServiceProcess } from './service-process.js';

/** A complete system on this machine: Redis and all services, each a process. */
export interface Stack {
  readonly redisUrl: string;
  /** Prefix of all keys in Redis. */
  readonly keyPrefix: string;
  /** Undefined if an external Redis is used. */
  readonly redis: PrivateRedis | undefined;
  readonly services: Readonly<Record<ServiceProcessName, readonly ServiceProcess[]>>;
  /** gRPC target of each service. Commas separate replicas. */
  readonly targets: Readonly<Record<ServiceProcessName, string>>;
  /** Rejects when a process ends unexpectedly. */
  readonly failure: Promise<never>;
  /** Starts Redis again after a kill, on the same port and data. */
  restartRedis(): Promise<void>;
  stop(): Promise<void>;
}

/** Options of {@link startStack}. */
export interface StackOptions {
  /** Folder of all files that are written. */
  readonly dir: string;
  /** A bundle folder, or a folder of bundle folders. */
  readonly bundlesDir: string;
  /** URL of an external Redis; default: a private Redis is started. */
  readonly redisUrl?: string | undefined;
  /** Variables for TLS to an external Redis: `CKV_REDIS_TLS_CA_FILE` and those beside it. Default: none. */
  readonly redisTls?: Readonly<Record<string, string>>;
  /** Prefix of all keys in Redis; default `ckv`. */
  readonly keyPrefix?: string;
  /** Deletes all keys of the prefix when the stack stops. For a prefix of one run in an external Redis. */
  readonly removeKeys?: boolean;
  /** Number of replicas; default 1 each. */
  readonly replicas?: Partial<Record<ServiceProcessName, number>>;
  /** Environment variables by service. They override the stack's variables. */
  readonly env?: Partial<Record<ServiceProcessName, Readonly<Record<string, string>>>>;
  /** True: the services use their usual ports if these are free. Default: any free ports. */
  readonly usualPorts?: boolean;
  /** When Redis syncs its append-only file; default everysec. */
  readonly fsync?: 'everysec' | 'always';
  readonly onProgress?: (message: string) => void;
  /** Ends the start when it aborts. It has no effect on a stack that has started. */
  readonly signal?: AbortSignal;
  /** Keeps `failure` pending when a process ends. For tests that kill processes. */
  readonly expectDeaths?: boolean;
}

/**
 * Starts a stack. Resolves when all services are ready.
 * @throws what went wrong, or the reason of `signal`; nothing that was started is left then
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { dir, keyPrefix = 'ckv', onProgress = () => undefined } = options;
  await mkdir(dir, { recursive: true });
  const { signal } = options;
  /** Parts that have started, and parts that are starting. A part is undefined if its start failed. */
  const parts: Promise<{ stop(): Promise<void> } | undefined>[] = [];
  const starting = <T extends { stop(): Promise<void> }>(part: Promise<T>): Promise<T> => {
    parts.push(part.catch(() => undefined));
    return part;
  };
  try {
    return await orAborted(start(), signal);
  } catch (error) {
    await Promise.all((await Promise.all(parts)).map((part) => part?.stop()));
    if (options.removeKeys)
      await removeKeys(options.redisUrl ?? '', keyPrefix, options.redisTls).catch(() => undefined);
    await rm(join(dir, 'stack.json'), { force: true });
    throw error;
  }

  async function start(): Promise<Stack> {
    let redis = options.redisUrl === undefined ? await startRedis() : undefined;
    const redisUrl = options.redisUrl ?? redis?.url ?? '';
    if (!redis) await requireRedis(redisUrl, options.redisTls);
    onProgress(redis ? `Redis on ${redisUrl}` : 'Redis from CKV_REDIS_URL');

    const redisAccess = { ...options.redisTls, CKV_KEY_PREFIX: keyPrefix };
    const records = { CKV_REDIS_URL: redisUrl, ...redisAccess };
    const [pool, userCache] = await Promise.all([
      startReplicas('pool', { CKV_BUNDLES_DIR: options.bundlesDir, CKV_STATE_DIR: join(dir, 'pool-state') }),
      startReplicas('user-cache', records),
    ]);
    const upstream = { CKV_POOL_TARGET: targetOf(pool), CKV_USER_CACHE_TARGET: targetOf(userCache) };
    const [ranking, updater] = await Promise.all([
      startReplicas('ranking', { ...upstream, ...records }),
      startReplicas('updater', { ...upstream, CKV_QUEUE_REDIS_URL: redisUrl, ...redisAccess }),
    ]);
    const services = { pool, 'user-cache': userCache, ranking, updater };
    await Promise.all(Object.values(services).flatMap((group) => group.map((service) => service.untilReady())));

    const targets = {
      pool: targetOf(pool),
      'user-cache': targetOf(userCache),
      ranking: targetOf(ranking),
      updater: targetOf(updater),
    };
    let stopping = false;
    const failure = new Promise<never>((_, reject) => {
      if (options.expectDeaths) return;
      const watch = (name: string, exited: Promise<unknown>) =>
        void exited.then((code) => {
          if (!stopping)
            reject(new Error(`${name} ended unexpectedly (exit code ${code ?? 'none'}); logs: ${dir}/logs`));
        });
      if (redis) watch('Redis', redis.exited);
      for (const service of Object.values(services).flat()) watch(service.name, service.exited);
    });
    failure.catch(() => undefined); // not unhandled if nobody awaits it
    await writeFile(
      join(dir, 'stack.json'),
      `${JSON.stringify({ pid: process.pid, redisUrl, keyPrefix, targets, metrics: metricsOf(services) }, null, 2)}\n`,
      { mode: 0o600 }, // the URL may hold a password
    );

    return {
      redisUrl,
      keyPrefix,
      get redis() {
        return redis;
      },
      services,
      targets,
      failure,
      async restartRedis() {
        redis = await startRedis(Number(new URL(redisUrl).port));
      },
      async stop() {
        stopping = true;
        await Promise.all([...ranking, ...updater].map((service) => service.stop()));
        await Promise.all([...pool, ...userCache].map((service) => service.stop()));
        if (options.removeKeys) await removeKeys(redisUrl, keyPrefix, options.redisTls);
        await redis?.stop();
        await rm(join(dir, 'stack.json'), { force: true });
      },
    };
  }

  async function startRedis(port?: number): Promise<PrivateRedis> {
    return starting(
      startPrivateRedis({
        dir: join(dir, 'redis-server'),
        dataDir: join(dir, 'redis'),
        fsync: options.fsync ?? 'everysec',
        onProgress,
        ...(port === undefined ? {} : { port }),
        ...(signal ? { signal } : {}),
      }),
    );
  }

  async function startReplicas(
    name: ServiceProcessName,
    env: Readonly<Record<string, string>>,
  ): Promise<ServiceProcess[]> {
    const count = options.replicas?.[name] ?? 1;
    const replicas = await Promise.all(Array.from({ length: count }, (_, replica) => startReplica(name, replica, env)));
    onProgress(`${name} on ${targetOf(replicas)}`);
    return replicas;
  }

  async function startReplica(
    name: ServiceProcessName,
    replica: number,
    env: Readonly<Record<string, string>>,
  ): Promise<ServiceProcess> {
    const usual = `127.0.0.1:${50051 + SERVICE_NAMES.indexOf(name)}`;
    const startAt = (bind: string) =>
      startServiceProcess({
        name,
        signal,
        logFile: join(dir, 'logs', `${name}-${replica}.log`),
        env: {
          CKV_BIND: bind,
          CKV_CACHE_DIR: join(dir, 'cache', `${name}-${replica}`),
          ...env,
          ...options.env?.[name],
        },
      });
    return starting(
      options.usualPorts && replica === 0 ? startAt(usual).catch(() => startAt('127.0.0.1:0')) : startAt('127.0.0.1:0'),
    );
  }
}

/** Returns the metrics URLs of each service's replicas. */
function metricsOf(services: Stack['services']): Record<string, string[]> {
  const entries = Object.entries(services).map(([name, replicas]) => [
    name,
    replicas.map(({ metricsAddress }) => `http://${metricsAddress}/metrics`),
  ]);
  return Object.fromEntries(entries);
}

/** Rejects at once if Redis is unreachable. The services would retry and never become ready. */
async function requireRedis(url: string, tls: Readonly<Record<string, string>> = {}): Promise<void> {
  const options = { field: 'CKV_REDIS_URL', name: 'ckv-dev-stack', whenAway: 'fail', tls: redisTlsFrom(tls) } as const;
  closeRedis(await connectedRedis(url, options));
}

function targetOf(replicas: readonly ServiceProcess[]): string {
  return replicas.map(({ address }) => address).join(',');
}
