import { setTimeout as sleep } from 'node:timers/promises';
import { askRedis } from '@collectivekv/private-redis';
import { type OwnRedis, singleRedis, twoRedis } from '../fleet/redis-form.js';
import type { OwnServer } from '../fleet/redis-node.js';
import { notesOfAccepted } from '../load/accepted-notes.js';
import type { Arena, DurabilityRow, Scenario } from '../scenario.js';

/** With `everysec`, Redis may lose the writes of about one second. Its flush may be late while the disk is busy. */
const EVERYSEC_MS = 1_000;
/**
 * Interactions that were accepted so much earlier may be lost as well. The notes may be late; and what was appended in the
 * last second may have waited in the queue before.
 */
const SLACK_MS = { queue: 1_000, records: 10_000 } as const;

/** How a server ends, and what it loses. */
interface Ending {
  readonly name: string;
  readonly redis: OwnRedis;
  /** The server whose power fails. */
  readonly server: 'records' | 'queue';
  /** Writes of the last ms that are lost. Infinity: everything. Undefined: the server is killed, and loses nothing. */
  readonly lostMs: number | undefined;
  /** Ends the data of the server instead of the server. */
  readonly empty?: (server: OwnServer) => Promise<unknown>;
  readonly row: DurabilityRow;
  readonly mayBreak?: Scenario['mayBreak'];
}

/** Ends a server under load, and starts it again. */
async function end({ backends, random, fault }: Arena, ending: Ending): Promise<void> {
  const { redis, server: which, lostMs, empty, row } = ending;
  const loses = lostMs !== undefined && lostMs > 0;
  let atRisk = 0;
  await fault(
    row.event,
    async () => {
      const server: OwnServer = redis.servers()[which];
      const notes = notesOfAccepted(backends);
      if (loses && Number.isFinite(lostMs)) await sleep(lostMs + SLACK_MS[which]); // the notes must reach back so far
      await backends.untilAccepted(random.whole(300, 600));
      if (empty) await empty(server);
      else if (lostMs === undefined) await server.kill();
      else await server.cutPower(lostMs);
      atRisk = loses ? notes.acceptedSince(performance.now() - lostMs - SLACK_MS[which]) : 0;
      notes.close();
      if (empty) return;
      await sleep(random.pick([0, 500]));
      await server.restart();
    },
    { storeMayGoBack: loses, ...(loses ? { mayLose: () => atRisk } : {}) },
  );
}

function scenarioOf(ending: Ending): Scenario {
  const { name, redis, lostMs = 0, row, mayBreak } = ending;
  return {
    name,
    about: `${row.redis}: ${row.event}.`,
    fleet: { redis },
    // What was lost and is sent again comes late, and the oracle cannot tell a lost removal from a second application.
    load: lostMs > 0 ? { forgets: 0, repeats: 0 } : {},
    durability: row,
    ...(mayBreak ? { mayBreak } : {}),
    async run(arena) {
      for (let round = 0; round < (arena.quick ? 1 : 3); round++) await end(arena, ending);
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
    row: { redis: 'one server, `appendfsync everysec`', event: 'power cut of Redis', promise: LAST_SECOND },
  }),
  scenarioOf({
    name: 'no-append-only-file',
    redis: singleRedis('no', ['--appendonly', 'no']),
    server: 'queue',
    lostMs: Number.POSITIVE_INFINITY,
    row: { redis: 'one server, no append-only file', event: 'restart of Redis', promise: 'everything is lost' },
  }),
  scenarioOf({
    name: 'flushed',
    redis: singleRedis('always'),
    server: 'queue',
    lostMs: Number.POSITIVE_INFINITY,
    empty: ({ port }) => askRedis(port, 'FLUSHALL'),
    row: { redis: 'one server', event: '`FLUSHALL`', promise: 'everything is lost' },
  }),
  scenarioOf({
    name: 'power-cut-records',
    redis: twoRedis('everysec', 'always'),
    server: 'records',
    lostMs: EVERYSEC_MS,
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
    mayBreak: ['duplicated', 'outOfOrder'],
    row: {
      redis: 'queue in a server of its own, `everysec`; records `always`',
      event: "power cut of the queue's Redis",
      promise: 'what was accepted in the last second may be lost; what was appended in it may apply twice',
    },
  }),
];
