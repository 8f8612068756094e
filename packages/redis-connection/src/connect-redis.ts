import { CkvError } from '@collectivekv/domain';
import { Cluster, type CommonRedisOptions, Redis } from 'ioredis';
import { parseRedisUrl, type RedisAddress } from './redis-url.js';

/** A connection to one server, a primary behind sentinels, or a cluster. */
export type RedisClient = Redis | Cluster;

/** Options of {@link connectRedis}. */
export interface ConnectOptions {
  /** The variable that the URL came from, for errors. */
  readonly field: string;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /**
   * What a command does while Redis is away: `fail` at once, as a request wants it, or `wait` for it to come back, as
   * BullMQ's workers want it. With `fail`, a server that says nothing for 5 s while commands wait is away too: they fail,
   * and the connection is made anew.
   */
  readonly whenAway: 'fail' | 'wait';
  /** Called with every connection error; at least the first of each outage is worth a log line. */
  readonly onError: (error: Error) => void;
}

const CONNECT_TIMEOUT_MS = 2_000;
const SILENCE_TIMEOUT_MS = 5_000;
const MAX_RECONNECT_MS = 1_000;

/**
 * Connects, and reconnects for ever: 50 ms doubling to 1 s between tries. Returns before the connection stands.
 * @throws invalid_request for a bad URL
 */
export function connectRedis(url: string, options: ConnectOptions): RedisClient {
  const address = parseRedisUrl(url, options.field);
  const client =
    address.kind === 'cluster' ? connectCluster(address, options) : new Redis(singleOptions(address, options));
  client.on('error', options.onError);
  return client;
}

/**
 * Connects and waits until commands can be sent.
 * @throws invalid_request for a bad URL, dependency_unavailable where nothing answers in time; the text names `field`
 */
export async function connectedRedis(
  url: string,
  options: Omit<ConnectOptions, 'onError'>,
  timeoutMs = 5_000,
): Promise<RedisClient> {
  let problem = 'no answer';
  const onError = (error: Error) => {
    problem = error.message;
  };
  const client = connectRedis(url, { ...options, onError });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      closeRedis(client);
      reject(new CkvError('dependency_unavailable', `${options.field}: Redis cannot be reached (${problem})`));
    }, timeoutMs);
    client.once('ready', () => {
      clearTimeout(timer);
      resolve(client);
    });
  });
}

/** True where commands can be sent now. */
export function isConnected(client: RedisClient): boolean {
  return client.status === 'ready';
}

/** Ends a connection at once; commands in flight fail. */
export function closeRedis(client: RedisClient): void {
  client.disconnect();
}

/** Every server that holds keys: the one, or the cluster's primaries. */
export function primariesOf(client: RedisClient): Redis[] {
  return client instanceof Cluster ? client.nodes('master') : [client];
}

function commonOptions(address: RedisAddress, { name, whenAway }: ConnectOptions) {
  const fail = whenAway === 'fail';
  return {
    connectionName: name,
    ...(address.username === '' ? {} : { username: address.username }),
    ...(address.password === '' ? {} : { password: address.password }),
    ...(address.tls ? { tls: {} } : {}),
    connectTimeout: CONNECT_TIMEOUT_MS,
    disableClientInfo: true, // a command less for an access rule to allow
    enableOfflineQueue: !fail,
    maxRetriesPerRequest: fail ? 0 : null,
    // Not ioredis's commandTimeout: after it a command fails, but stays queued for as long as the connection does.
    ...(fail ? { socketTimeout: SILENCE_TIMEOUT_MS } : {}),
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times - 1, 10), MAX_RECONNECT_MS),
  } satisfies CommonRedisOptions & Record<string, unknown>;
}

function singleOptions(address: RedisAddress, options: ConnectOptions) {
  const common = { ...commonOptions(address, options), db: address.db };
  const [node] = address.nodes;
  if (address.kind === 'sentinel') {
    return {
      ...common,
      sentinels: address.nodes.map(({ host, port }) => ({ host, port })),
      name: address.primaryName,
      sentinelCommandTimeout: CONNECT_TIMEOUT_MS, // then the next sentinel is asked
      ...(address.tls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
    };
  }
  return { ...common, host: node?.host ?? '', port: node?.port ?? 0 };
}

/**
 * A node is connected to when first needed, and refuses what comes until then: it is asked again for 100 ms at the most,
 * where ioredis would go on for seconds.
 */
const FAIL_SOON = { maxRedirections: 5, retryDelayOnFailover: 25, retryDelayOnClusterDown: 0 } as const;

function connectCluster(address: RedisAddress, options: ConnectOptions): Cluster {
  const { retryStrategy, enableOfflineQueue, ...redisOptions } = commonOptions(address, options);
  return new Cluster([...address.nodes], {
    redisOptions,
    enableOfflineQueue,
    clusterRetryStrategy: retryStrategy,
    slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
    ...(options.whenAway === 'fail' ? FAIL_SOON : {}),
  });
}
