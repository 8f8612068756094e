import { setTimeout as sleep } from 'node:timers/promises';
import { askRedis } from '@collectivekv/private-redis';
import { type OwnRedis, singleRedis, twoRedis } from '../fleet/redis-form.js';
import type { OwnServer } from '../fleet/redis-node.js';
import { notesOfAccepted } from '../load/accepted-notes.js';
import { type QueueState, readQueueState } from '../oracle/queue-state.js';
import { RECORD_COUNTS, type RecordCount } from '../oracle/verdict.js';
import type { Arena, DurabilityRow, Scenario } from '../scenario.js';

/** With `everysec`, Redis may lose the writes of about one second. Its flush may be late while the disk is busy. */
const EVERYSEC_MS = 1_000;
/** What was appended in the last second may have waited in the queue for up to this time. */
const WAITED_MS = 10_000;
/** Time in which the power supply surely sees the length of the append-only file. */
const SEEN_MS = 500;

/** How a server ends, and what it loses. */
interface Ending {
  readonly name: string;
  readonly redis: OwnRedis;
  /** The server whose power fails. */
  readonly server: 'records' | 'queue';
  /** Writes of the last ms that are lost. Infinity: everything. Undefined: the server is killed, and loses nothing. */
  readonly lostMs: number | undefined;
  /**
   * What the loss breaks: for interactions that were accepted in the lost time, or so many ms before it. Only if
   * something is lost.
   */
  readonly mayBreak?: Partial<Readonly<Record<RecordCount, number>>>;
  /** Ends the data of the server instead of the server. */
  readonly empty?: (server: OwnServer) => Promise<unknown>;
  /** True: the power is also cut between two appends of a user. */
  readonly betweenAppends?: boolean;
  readonly row: DurabilityRow;
}

/** Ends a server under load, and starts it again. */
async function end({ backends, random, fault }: Arena, ending: Ending): Promise<void> {
  const { redis, server: which, lostMs, mayBreak, empty, row } = ending;
  const atRisk: Partial<Record<RecordCount, number>> = {};
  await fault(
    row.event,
    async () => {
      const server: OwnServer = redis.servers()[which];
      const notes = notesOfAccepted(backends);
      // The notes must reach back so far.
      if (mayBreak && Number.isFinite(lostMs)) await sleep((lostMs ?? 0) + Math.max(...Object.values(mayBreak)));
      await backends.untilAccepted(random.whole(300, 600));
      const lostFromMs = performance.now() - (lostMs ?? 0);
      if (empty) await empty(server);
      else if (lostMs === undefined) await server.kill();
      else await server.cutPower(lostMs);
      for (const count of RECORD_COUNTS) {
        if (mayBreak?.[count] !== undefined) atRisk[count] = notes.acceptedSince(lostFromMs - mayBreak[count]);
      }
      notes.close();
      if (empty) return;
      await sleep(random.pick([0, 500]));
      await server.restart();
    },
    mayBreak ? { storeMayGoBack: true, mayBreak: () => atRisk } : {},
  );
}

/**
 * Cuts the power of the only server after an interaction was applied, while its user's next one is in hand and cannot
 * reach the user-cache. The first append is lost, and the first job is not. The next one must not be appended first.
 */
async function cutBetweenAppends({ fleet, backends, fault, untilApplied }: Arena, redis: OwnRedis): Promise<void> {
  let atRisk = 0;
  await fault(
    'power cut between two appends of a user',
    async () => {
      const server = redis.servers().queue;
      const pipes = fleet.hops.of('updater-user-cache').map(({ pipe }) => pipe);
      const user = backends.addUser();
      const record = () => backends.send({ kind: 'record', entries: backends.eventsOf(user, 1) });
      const untilQueue = async (fits: (state: QueueState) => boolean) => {
        while (!fits(await readQueueState(fleet.queueReader))) await sleep(20);
      };
      await backends.pause();
      await untilQueue(({ waiting, active }) => waiting + active === 0);
      const notes = notesOfAccepted(backends);
      for (const pipe of pipes) pipe.hold('requests');
      await record();
      const lostFromMs = performance.now();
      await sleep(SEEN_MS); // the power supply must see the length of the file before the append
      for (const pipe of pipes) pipe.release();
      await untilApplied(user);
      await untilQueue(({ waiting, active }) => waiting + active === 0);
      for (const pipe of pipes) pipe.cut();
      await record();
      await untilQueue(({ active }) => active > 0);
      await server.cutPower(performance.now() - lostFromMs);
      atRisk = notes.acceptedSince(lostFromMs);
      notes.close();
      await server.restart();
      for (const pipe of pipes) pipe.accept();
      backends.resume();
    },
    { storeMayGoBack: true, mayBreak: () => ({ lost: atRisk }) },
  );
}

function scenarioOf(ending: Ending): Scenario {
  const { name, redis, row, mayBreak, betweenAppends } = ending;
  return {
    name,
    about: `${row.redis}: ${row.event}.`,
    fleet: { redis },
    // What was lost and is sent again comes late, and the oracle cannot tell a lost removal from a second application.
    load: mayBreak ? { forgets: 0, repeats: 0 } : {},
    durability: row,
    async run(arena) {
      for (let round = 0; round < (arena.quick ? 1 : 3); round++) await end(arena, ending);
      if (betweenAppends) await cutBetweenAppends(arena, redis);
    },
  };
}

const [NOTHING, LAST_SECOND] = ['nothing is lost', 'the last second may be lost'];

/** Redis ends, with every way to keep its data. */
export const powerCuts: readonly Scenario[] = [
  scenarioOf({
    name: 'redis-killed',
    redis: singleRedis('everysec'),
    server: 'queue',
    lostMs: undefined,
    row: { redis: 'one server, append-only file, any `appendfsync`', event: 'kill -9 of Redis', promise: NOTHING },
  }),
  scenarioOf({
    name: 'power-cut-always',
    redis: singleRedis('always'),
    server: 'queue',
    lostMs: 0,
    row: { redis: 'one server, `appendfsync always`', event: 'power cut of Redis', promise: NOTHING },
  }),
  scenarioOf({
    name: 'power-cut-everysec',
    redis: singleRedis('everysec'),
    server: 'queue',
    lostMs: EVERYSEC_MS,
    mayBreak: { lost: 0 },
    betweenAppends: true,
    row: { redis: 'one server, `appendfsync everysec`', event: 'power cut of Redis', promise: LAST_SECOND },
  }),
  scenarioOf({
    name: 'no-append-only-file',
    redis: singleRedis('no', ['--appendonly', 'no']),
    server: 'queue',
    lostMs: Number.POSITIVE_INFINITY,
    mayBreak: { lost: 0 },
    row: { redis: 'one server, no append-only file', event: 'restart of Redis', promise: 'everything is lost' },
  }),
  scenarioOf({
    name: 'flushed',
    redis: singleRedis('always'),
    server: 'queue',
    lostMs: Number.POSITIVE_INFINITY,
    mayBreak: { lost: 0 },
    empty: ({ port }) => askRedis(port, 'FLUSHALL'),
    row: { redis: 'one server', event: '`FLUSHALL`', promise: 'everything is lost' },
  }),
  scenarioOf({
    name: 'power-cut-records',
    redis: twoRedis('everysec', 'always'),
    server: 'records',
    lostMs: EVERYSEC_MS,
    mayBreak: { lost: WAITED_MS },
    row: {
      redis: 'records in a server of their own, `everysec`; queue `always`',
      event: "power cut of the records' Redis",
      promise: 'what was appended in the last second may be lost',
    },
  }),
  scenarioOf({
    name: 'power-cut-queue',
    redis: twoRedis('always', 'everysec'),
    server: 'queue',
    lostMs: EVERYSEC_MS,
    mayBreak: { lost: 0, duplicated: WAITED_MS, outOfOrder: WAITED_MS },
    row: {
      redis: 'queue in a server of its own, `everysec`; records `always`',
      event: "power cut of the queue's Redis",
      promise: 'what was accepted in the last second may be lost; what was appended in it may apply twice',
    },
  }),
];
