import { CkvError } from '@collectivekv/domain';
import { Cluster, type CommonRedisOptions, Redis } from 'ioredis';
import { confirmWrites } from './confirm-writes.js';
import { guardStreams } from './guard-streams.js';
import { replyOf } from './redis-error.js';
import { type RedisTls, type RedisTlsOptions, secureRedis } from './redis-tls.js';
import { parseRedisUrl, type RedisAddress } from './redis-url.js';

/** A connection to one server, a primary behind sentinels, or a cluster. */
export type RedisClient = Redis | Cluster;

/** Options of {@link connectRedis}. */
export interface ConnectOptions {
  /** Name of the variable that holds the URL, for errors. */
  readonly field: string;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /**
   * What a command does while Redis is away: `fail` at once, for requests, or `wait` until Redis is back, for BullMQ's
   * workers. With `fail`, a server that sends nothing for 5 s while commands wait counts as away. The commands then
   * fail and the client reconnects.
   */
  readonly whenAway: 'fail' | 'wait';
  /** Called with every connection error. Log at least the first error of each outage. */
  readonly onError: (error: Error) => void;
  /** For `rediss` URLs. */
  readonly tls?: RedisTlsOptions;
  /** Replicas that must have a write before it is answered: see `confirmWrites`. Default 0: none. */
  readonly confirmReplicas?: number;
}

/** Ends the looks at a client's TLS files. */
const closers = new WeakMap<RedisClient, () => void>();

const CONNECT_TIMEOUT_MS = 2_000;
const SILENCE_TIMEOUT_MS = 5_000;
/** Longest wait for replicas. Other commands wait as long, so it must be well below the silence that ends a connection. */
const CONFIRM_TIMEOUT_MS = 1_000;
const MAX_RECONNECT_MS = 1_000;
/** Shortest time between two reconnects that an error reply causes. */
const LEAVE_EVERY_MS = 1_000;
/** Replies of a server that cannot do the work of a primary. The address may lead to another server by now. */
const NOT_PRIMARY = /^(READONLY|LOADING|MASTERDOWN|NOREPLICAS)\b/;

guardStreams();

/**
 * Returns a client that connects in the background. It reconnects for ever; pauses double from 50 ms to 1 s. If the
 * server answers as a replica does after a failover, the command fails and the client connects to its address again.
 * @throws invalid_request for a malformed URL, or a TLS file that cannot be used
 */
export function connectRedis(url: string, given: ConnectOptions): RedisClient {
  const address = parseRedisUrl(url, given.field);
  const tls = secureRedis(address, given.field, given.tls);
  const options = { ...given, onError: (error: Error) => given.onError(tls.explained(causeOf(error))) };
  const client =
    address.kind === 'cluster'
      ? connectCluster(address, options, tls)
      : new Redis(singleOptions(address, options, tls));
  client.on('error', options.onError);
  const { confirmReplicas: replicaCount = 0 } = given;
  if (replicaCount > 0) confirmWrites(client, { replicaCount, timeoutMs: CONFIRM_TIMEOUT_MS });
  closers.set(client, tls.close);
  return client;
}

/** Returns the failure of a cluster's node, which ioredis hides behind one of its own. */
function causeOf(error: Error): Error {
  return 'lastNodeError' in error && error.lastNodeError instanceof Error ? error.lastNodeError : error;
}

/**
 * Connects and waits until commands can be sent.
 * @throws invalid_request for a malformed URL; dependency_unavailable if Redis does not answer in time. Both name
 * `field`
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

/** True if commands can be sent now. */
export function isConnected(client: RedisClient): boolean {
  return client.status === 'ready';
}

/**
 * Calls `listener` whenever a connection to a server closes. The server may have restarted, or another one may be in
 * its place: it may lack the latest writes, also those that it confirmed.
 */
export function onConnectionClosed(client: RedisClient, listener: () => void): void {
  if (!(client instanceof Cluster)) {
    client.on('close', listener);
    return;
  }
  const watch = (node: Redis) => node.on('close', listener);
  for (const node of client.nodes('all')) watch(node);
  client.on('+node', watch);
}

/** Closes a connection at once. Commands in flight fail. */
export function closeRedis(client: RedisClient): void {
  closers.get(client)?.();
  client.disconnect();
}

/** Returns every server that holds keys: the single server, or all primaries of a cluster. */
export function primariesOf(client: RedisClient): Redis[] {
  return client instanceof Cluster ? client.nodes('master') : [client];
}

/** Returns a function that decides after an error reply whether the client leaves the server. */
function leavesAfter(onError: (error: Error) => void): (error: Error) => boolean {
  let leftMs = Number.NEGATIVE_INFINITY;
  return (error) => {
    const reply = replyOf(error);
    if (!NOT_PRIMARY.test(reply) || performance.now() - leftMs < LEAVE_EVERY_MS) return false;
    leftMs = performance.now();
    onError(new Error(`${reply}; connecting again`));
    return true;
  };
}

function commonOptions(address: RedisAddress, { name, whenAway, onError }: ConnectOptions, tls: RedisTls) {
  const fail = whenAway === 'fail';
  return {
    connectionName: name,
    ...(address.username === '' ? {} : { username: address.username }),
    ...(address.password === '' ? {} : { password: address.password }),
    ...(tls.options ? { tls: tls.options } : {}),
    connectTimeout: CONNECT_TIMEOUT_MS,
    disableClientInfo: true, // otherwise access rules must allow CLIENT SETINFO
    enableOfflineQueue: !fail,
    maxRetriesPerRequest: fail ? 0 : null,
    // Not ioredis's commandTimeout: a timed-out command would stay queued until the connection closes.
    reconnectOnError: leavesAfter(onError),
    ...(fail ? { socketTimeout: SILENCE_TIMEOUT_MS } : {}),
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times - 1, 10), MAX_RECONNECT_MS),
  } satisfies CommonRedisOptions & Record<string, unknown>;
}

function singleOptions(address: RedisAddress, options: ConnectOptions, tls: RedisTls) {
  const common = { ...commonOptions(address, options, tls), db: address.db };
  const [node] = address.nodes;
  if (address.kind === 'sentinel') {
    return {
      ...common,
      sentinels: address.nodes.map(({ host, port }) => ({ host, port })),
      name: address.primaryName,
      sentinelCommandTimeout: CONNECT_TIMEOUT_MS, // then ioredis asks the next sentinel
      failoverDetector: true, // leaves an old primary that still answers
      ...(tls.options ? { enableTLSForSentinelMode: true, sentinelTLS: tls.options } : {}),
    };
  }
  return { ...common, host: node?.host ?? '', port: node?.port ?? 0 };
}

/**
 * ioredis connects to a cluster node when the first command needs it, and fails commands until that connection is
 * ready. These options retry such a command for at most 100 ms. ioredis's defaults would retry for seconds.
 */
const FAIL_SOON = { maxRedirections: 5, retryDelayOnFailover: 25, retryDelayOnClusterDown: 0 } as const;

function connectCluster(address: RedisAddress, options: ConnectOptions, tls: RedisTls): Cluster {
  const { retryStrategy, enableOfflineQueue, ...redisOptions } = commonOptions(address, options, tls);
  return new Cluster([...address.nodes], {
    redisOptions,
    enableOfflineQueue,
    clusterRetryStrategy: retryStrategy,
    slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
    ...(options.whenAway === 'fail' ? FAIL_SOON : {}),
  });
}
