import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import { closeRedis, connectedRedis, redisTlsFrom } from '@collectivekv/redis-connection';
import { createGrpcClient, type GrpcClient, type GrpcClientOptions, type ServiceName } from '@collectivekv/rpc';
import {
  type EncodingClaims,
  inspectQueue,
  openEncodingClaims,
  openWarmings,
  type QueueInspection,
  type Warmings,
} from '@collectivekv/update-queue';
import { readAccess } from './environment.js';
import { readPartitionCount } from './partition-count.js';
import { print } from './print.js';
import { queueRedisOf } from './queue-redis.js';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly ranking?: string;
  readonly updater?: string;
  readonly pool?: string;
  readonly userCache?: string;
  readonly queueRedis?: string;
  readonly keyPrefix?: string;
}

/** Connections to a running system. Each is opened when a command first uses it. */
export interface Connections {
  client(): CollectiveKvClient;
  pool(): GrpcClient<'PoolService'>;
  userCache(): GrpcClient<'UserCacheService'>;
  queue(): Promise<QueueInspection>;
  warmings(): Promise<Warmings>;
  /** The claims on encodings, on the same connection as the warmings. */
  claims(): Promise<EncodingClaims>;
  /** Addresses of the /metrics of all processes of the system that `npm start` runs. */
  readonly metricsTargets: readonly string[];
  /** True if answers are to be JSON. */
  readonly json: boolean;
  /** Writes what is waited for to stderr. */
  note(message: string): void;
  /** Prints an answer, either as JSON or as lines for people. */
  print(answer: object, lines: () => string): void;
  close(): Promise<void>;
}

const STACK_FILE = join('.ckv', 'stack.json');
const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url));

/** The file in which `npm start` describes the system that it runs. */
interface StackFile {
  readonly pid?: number;
  readonly redisUrl?: string;
  readonly keyPrefix?: string;
  readonly targets?: Readonly<Record<string, string>>;
  /** URLs of the metrics, by service. */
  readonly metrics?: Readonly<Record<string, readonly string[]>>;
}

/** Creates the connections. `options` is called when a command runs. */
export function openConnections(options: () => GlobalOptions): Connections {
  const opened: (() => unknown)[] = [];
  const stack = readStackFile();
  const accessOf = (targets: Readonly<Record<string, string>>): GrpcClientOptions => {
    const access = readAccess(process.env);
    return { ...access, optionNames: { ...access.optionNames, ...targets } };
  };

  const clients = new Map<ServiceName, unknown>();
  function open<S extends ServiceName>(name: S, option: string, target: string): GrpcClient<S> {
    const known = clients.get(name) as GrpcClient<S> | undefined;
    if (known) return known;
    const client = createGrpcClient(name, target, accessOf({ target: option }));
    clients.set(name, client);
    opened.push(client.close);
    return client;
  }

  async function queueRedis() {
    const { url, keyPrefix } = queueRedisOf(options(), process.env, stack);
    const partitionCount = readPartitionCount(process.env);
    const tls = redisTlsFrom(process.env);
    const client = await connectedRedis(url, { field: '--queue-redis', name: 'ckv', whenAway: 'wait', tls });
    opened.push(() => closeRedis(client));
    return { client, keyPrefix, partitionCount };
  }

  let shared: ReturnType<typeof queueRedis> | undefined;
  function sharedRedis(): ReturnType<typeof queueRedis> {
    shared ??= queueRedis();
    return shared;
  }

  return {
    client() {
      const { ranking, updater } = options();
      const client = createCollectiveKvClient({
        rankingTarget: ranking ?? stack.targets?.ranking ?? '127.0.0.1:50053',
        interactionTarget: updater ?? stack.targets?.updater ?? '127.0.0.1:50054',
        ...accessOf({ rankingTarget: '--ranking', interactionTarget: '--updater' }),
        rankTimeoutMs: 5_000,
      });
      opened.push(client.close);
      return client;
    },
    pool: () => open('PoolService', '--pool', options().pool ?? stack.targets?.pool ?? '127.0.0.1:50051'),
    userCache: () =>
      open(
        'UserCacheService',
        '--user-cache',
        options().userCache ?? stack.targets?.['user-cache'] ?? '127.0.0.1:50052',
      ),
    async queue() {
      const queue = inspectQueue(await queueRedis());
      opened.push(queue.close);
      return queue;
    },
    warmings: async () => openWarmings(await sharedRedis()),
    async claims() {
      const { client, keyPrefix } = await sharedRedis();
      return openEncodingClaims(client, keyPrefix);
    },
    metricsTargets: Object.values(stack.metrics ?? {})
      .flat()
      .map((url) => new URL(url).host),
    get json() {
      return options().json ?? false;
    },
    note: console.error,
    print: (answer, lines) => print(options().json ?? false, answer, lines),
    async close() {
      for (const close of opened.reverse()) await close();
    },
  };
}

/**
 * Reads the stack file of a running system. Looks in this folder, then in those above it, then in this command's own
 * checkout.
 */
function readStackFile(): StackFile {
  for (let folder = process.cwd(), next = ''; folder !== next; folder = next) {
    next = dirname(folder);
    const found = readIfAlive(join(folder, STACK_FILE));
    if (found) return found;
  }
  return readIfAlive(join(CHECKOUT, STACK_FILE)) ?? {};
}

function readIfAlive(path: string): StackFile | undefined {
  try {
    const stack = JSON.parse(readFileSync(path, 'utf8')) as StackFile;
    process.kill(stack.pid ?? 0, 0);
    return stack;
  } catch {
    return undefined; // there is no file, or its system has ended
  }
}
