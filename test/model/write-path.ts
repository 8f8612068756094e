// Updaters, user-caches and a backend on one Redis, each with connections that the schedule moves. The code of
// updaters, queue and records is the real one; only time, the network, the graphs and the waits for arrivals are the
// model's.
import type { LoadedBundle } from '@collectivekv/bundles';
import { encodeRecord } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';
import { createInteractionProducer, inspectQueue } from '@collectivekv/update-queue';
import { createRedisUserStore } from '@collectivekv/user-store';
import type { UpdaterMetrics } from '../../services/updater/src/metrics.js';
import { createUserCacheHandlers } from '../../services/user-cache/src/handlers.js';
import type { UserCacheMetrics } from '../../services/user-cache/src/metrics.js';
import { type CacheCall, type CacheCalls, createCacheCalls } from './cache-calls.js';
import { type Feed, PARTITION_COUNT, startFeed, USERS } from './feed.js';
import { createLeaseWatch, RECORD_WRITES } from './lease-watch.js';
import { CLOCKS } from './model-clock.js';
import { KEY_PREFIX, startModelUpdater } from './model-updater.js';
import { openDoors } from './queue-doors.js';
import { createRecordCheck, type RecordCheck } from './record-check.js';
import type { Fate, LinkPool, RedisLink, Reply, Sent } from './redis-link.js';
import { modelNowMs, resetTime, runAs } from './virtual-time.js';

/** A process of the model. */
export interface Actor {
  readonly name: string;
  readonly kind: 'updater' | 'cache' | 'door';
  readonly link: RedisLink;
  /** True while the process gets no time: it receives nothing, and its pauses do not end. */
  stalled: boolean;
  /** True after it was told to shut down. */
  stopping: boolean;
  /** Shuts the process down in order. */
  stop(): void;
}

/** A fault that waits for the next call of a name. */
export interface Trap {
  /** A script, a command, or a method of the user-cache. */
  readonly call: string;
  /** What happens as the call is sent: its connection breaks, or its sender stalls or dies. */
  readonly fault: 'break' | 'stall' | 'kill';
  readonly fate: Fate;
}

/** A choice that holds for a whole run. */
export interface Setting {
  /**
   * Bundles that are followed: one, the active and the previous one with encodings of their own or with one encoding,
   * or one that encodes with history.
   */
  readonly bundles: 'one' | 'two' | 'twins' | 'history';
  /** How much the clock of the records' Redis is ahead of the queue's, ms. At most 500 either way is allowed. */
  readonly skewMs: number;
  /** Updaters at the beginning. */
  readonly updaterCount: number;
}

/** Parts that outlive a run. */
export interface Bench {
  /** A connection that executes the commands of all processes. */
  readonly redis: RedisClient;
  readonly bundles: Readonly<Record<Setting['bundles'], readonly LoadedBundle[]>>;
  readonly updaterMetrics: UpdaterMetrics;
  readonly cacheMetrics: UserCacheMetrics;
  /** Links whose scripts ask the clock of the queue's Redis, and of the records' Redis. */
  readonly links: { readonly queue: LinkPool; readonly records: LinkPool };
}

/** One run's processes. */
export interface WritePath {
  readonly feed: Feed;
  readonly cacheCalls: CacheCalls;
  readonly records: RecordCheck;
  /** Processes that live. */
  actors(): readonly Actor[];
  /** Every link that ever was, of dead processes too. */
  readonly links: readonly { readonly owner: string; readonly link: RedisLink }[];
  startUpdater(): void;
  setTrap(trap: Trap): void;
  removeTraps(): void;
  /** Kills a process. A user-cache or the door is started again at once. */
  kill(actor: Actor, fate: Fate): void;
  /** Number of jobs that wait, that are active, and that are set aside. */
  counts(): Promise<{ readonly unsettled: number; readonly aside: number }>;
  /**
   * Makes the record of the poisoned user writable, and retries every job that was set aside but the unreadable ones.
   */
  cure(): Promise<void>;
  /** Closes what the run opened. */
  close(): Promise<void>;
}

const START_MS = 1_700_000_000_000;
const CACHES = ['cache 0', 'cache 1'];
const DOOR = 'door';

/** Starts a run with an empty Redis, two user-caches, the door and updaters. */
export async function startWritePath(bench: Bench, setting: Setting): Promise<WritePath> {
  const { redis } = bench;
  const bundles = bench.bundles[setting.bundles];
  await redis.flushall();
  resetTime(START_MS);
  let clockMs = 0;

  const members = new Map<string, string>();
  const leaseWatch = createLeaseWatch(redis, (owner) => members.get(owner) ?? '');
  const links: { owner: string; kind: Actor['kind']; link: RedisLink }[] = [];
  const opened: { close(): Promise<unknown> }[] = [];
  let actors: Actor[] = [];
  let updaterCount = 0;

  const traps: Trap[] = [];
  /** Springs the first trap for a call of this name. A trap springs after the sender's turn. */
  function spring(owner: string, name: string, call?: CacheCall): void {
    const at = traps.findIndex((trap) => trap.call === name);
    const actor = actors.find((one) => one.name === owner);
    if (at < 0 || !actor) return;
    const [trap] = traps.splice(at, 1) as [Trap];
    queueMicrotask(() => {
      if (trap.fault === 'stall') actor.stalled = true;
      else if (trap.fault === 'kill') path.kill(actor, trap.fate);
      else if (call) call.fail('deadline', trap.fate);
      else actor.link.cut(trap.fate);
    });
  }

  const watch = {
    sent: ({ name, from }: Sent) => spring(from?.owner ?? '', name),
    async before(sent: Sent) {
      if (clockMs !== modelNowMs()) {
        clockMs = modelNowMs();
        void redis.mset(CLOCKS.queue, clockMs, CLOCKS.records, clockMs + setting.skewMs);
      }
      await leaseWatch.before(sent);
    },
    async after(sent: Sent, reply: Reply) {
      leaseWatch.after(sent, reply);
      if (RECORD_WRITES.includes(sent.name)) await records.now();
    },
  };

  function openLink(owner: string, kind: Actor['kind']): RedisLink {
    const link = bench.links[kind === 'cache' ? 'records' : 'queue'].open(watch);
    links.push({ owner, kind, link });
    return link;
  }

  function add(actor: Omit<Actor, 'stalled' | 'stopping'>): void {
    actors.push({ ...actor, stalled: false, stopping: false });
  }

  const handlers = new Map<string, ReturnType<typeof createUserCacheHandlers>>();
  const cacheCalls = createCacheCalls({
    caches: CACHES,
    handlersOf(cache) {
      const own = handlers.get(cache);
      if (!own) throw new Error(`no ${cache}`);
      return own;
    },
    onSent: (call) => spring(call.caller, call.method, call),
  });

  function startCache(name: string): void {
    const link = openLink(name, 'cache');
    const store = runAs({ owner: name }, () =>
      createRedisUserStore({ client: link.client, keyPrefix: KEY_PREFIX, recordTtlS: 3_600 }),
    );
    handlers.set(name, createUserCacheHandlers(store, bench.cacheMetrics));
    add({ name, kind: 'cache', link, stop: () => undefined });
  }

  function producerOf(client: RedisClient) {
    const producer = createInteractionProducer({
      client,
      keyPrefix: KEY_PREFIX,
      partitionCount: PARTITION_COUNT,
      maxWaitingJobs: 10_000,
    });
    opened.push(producer);
    return producer;
  }

  function startOneUpdater(): void {
    const name = `updater ${updaterCount++}`;
    const link = openLink(name, 'updater');
    const { client } = link;
    const { updater, member } = runAs({ owner: name }, () =>
      startModelUpdater({
        name,
        client,
        producer: producerOf(client),
        bundles,
        userCache: cacheCalls.clientOf(name),
        metrics: bench.updaterMetrics,
        onOpened: (queue) => opened.push(queue),
      }),
    );
    members.set(name, member);
    const stop = () => {
      void runAs({ owner: name }, () => updater.stop()).then(() => {
        actors = actors.filter((actor) => actor.name !== name);
        link.die('late');
      });
    };
    add({ name, kind: 'updater', link, stop });
  }

  for (const cache of CACHES) startCache(cache);
  const door = openLink(DOOR, 'door');
  add({ name: DOOR, kind: 'door', link: door, stop: () => undefined });
  const doors = runAs({ owner: DOOR }, () => openDoors(door.client, producerOf(door.client), redis));
  const feed = startFeed(DOOR, doors);
  const reader = createRedisUserStore({ client: redis, keyPrefix: KEY_PREFIX, recordTtlS: 3_600 });
  const records = createRecordCheck(reader, bundles, feed);
  const inspection = inspectQueue({ client: redis, keyPrefix: KEY_PREFIX, partitionCount: PARTITION_COUNT });
  opened.push(inspection);

  const [active] = bundles as [LoadedBundle];
  await reader.replaceRecord(active.model.encodingId, USERS.poison, foreignRecord(active));
  for (let i = 0; i < setting.updaterCount; i++) startOneUpdater();

  const path: WritePath = {
    feed,
    cacheCalls,
    records,
    actors: () => actors,
    links,
    startUpdater: startOneUpdater,
    setTrap: (trap) => void traps.push(trap),
    removeTraps: () => void traps.splice(0),
    kill(actor, fate) {
      for (const call of cacheCalls.all()) {
        if (call.caller === actor.name) call.abandon(fate);
        if (call.cache === actor.name) call.fail('dependency_unavailable', fate);
      }
      if (actor.kind === 'door') return actor.link.cut(fate);
      actor.link.die(fate);
      actors = actors.filter((one) => one !== actor);
      if (actor.kind === 'cache') startCache(actor.name);
    },
    async counts() {
      const all = await inspection.counts();
      return {
        unsettled: all.reduce((sum, { waiting, active: taken }) => sum + waiting + taken, 0),
        aside: all.reduce((sum, { failed }) => sum + failed, 0),
      };
    },
    async cure() {
      await reader.deleteUser(USERS.poison);
      const failed = await inspection.failed(1_000);
      await inspection.retry(failed.filter(({ id }) => !id.startsWith('unreadable')).map(({ id }) => id));
    },
    async close() {
      for (const one of opened) await one.close().catch(() => undefined);
      for (const { kind, link } of links) bench.links[kind === 'cache' ? 'records' : 'queue'].giveBack(link);
    },
  };
  return path;
}

/** Returns a record of another encoding, so that appends to it are refused. */
function foreignRecord({ model }: LoadedBundle): Uint8Array {
  const encodingId = model.encodingId.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'));
  const { strideBytes } = model.layout;
  return encodeRecord({
    encodingId,
    strideBytes,
    recentEvents: new Uint8Array(0),
    rows: new Uint8Array(strideBytes),
    lifetimeCount: 1,
    lastEventMs: 1,
  });
}
