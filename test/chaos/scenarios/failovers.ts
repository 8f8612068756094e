import { setTimeout as sleep } from 'node:timers/promises';
import { askRedis } from '@collectivekv/private-redis';
import { stopped } from '../faults/process-faults.js';
import { DEFAULT_FLEET, type Env, type FleetSpec } from '../fleet/fleet.js';
import { clusterRedis } from '../fleet/redis-cluster.js';
import type { RedisForm } from '../fleet/redis-form.js';
import { sentinelRedis } from '../fleet/redis-sentinel.js';
import { notesOfAccepted } from '../load/accepted-notes.js';
import type { RecordCount } from '../oracle/verdict.js';
import type { Arena, DurabilityRow, Scenario } from '../scenario.js';

/** A Redis with replicas that take over. */
interface Replicated extends RedisForm {
  /** Returns the indices of the primaries among the nodes. */
  primaries(): Promise<number[]>;
  untilReplicated(): Promise<void>;
}

/** About the time in which a replica takes over. Services have not given up the primary by then. */
const TAKEOVER_MS = [2_500, 4_500] as const;
/** Long enough for a replica to take over, and for the old primary to return with stale data. */
const AWAY_MS = [5_000, 9_000] as const;
/** Long enough for many writes that the replica lacks. */
const HUNG_MS = 1_500;
/** Every write has a copy before it counts. */
const CONFIRM: Env = { CKV_CONFIRM_REPLICAS: '1' };
/** Without copies, what was accepted so shortly before the failover or after it may be lost. */
const AT_RISK_MS = 1_000;
/** In a cluster, also what was appended so shortly before: it may have waited in the queue for up to this time. */
const APPENDED_MS = 10_000;

/** How a failover may break promises: not at all, or for what was accepted shortly before and after. */
type Risk = 'none' | 'lost' | 'each server for itself';

/** Ends primaries under load, one way after the other. */
async function failovers({ fleet, backends, random, quick, fault }: Arena, redis: Replicated, risk: Risk) {
  async function replaceKilled(i: number, primaries: readonly number[]): Promise<void> {
    await fleet.redis.nodes[i]?.kill();
    for (let now = [i]; now.includes(i) || now.length < primaries.length; now = await redis.primaries())
      await sleep(50);
    await fleet.redis.nodes[i]?.restart();
  }
  async function stopFor(i: number, ms: number): Promise<void> {
    const node = fleet.redis.nodes[i];
    if (node) await stopped(node, ms);
  }
  const strikes = [
    {
      name: 'kill -9 of a primary',
      strike: async (i: number) => replaceKilled(i, await redis.primaries()),
    },
    {
      name: 'SIGSTOP of a primary, which returns as a replica takes over',
      strike: (i: number) => stopFor(i, random.whole(...TAKEOVER_MS)),
    },
    {
      name: 'SIGSTOP of a primary, which returns as a stale primary',
      strike: (i: number) => stopFor(i, random.whole(...AWAY_MS)),
    },
  ];
  if (risk === 'none') {
    strikes.push({
      name: 'kill -9 of a primary whose replica hangs',
      async strike(i) {
        const primaries = await redis.primaries();
        const replicas = fleet.redis.nodes.filter((_, node) => !primaries.includes(node));
        const hung = replicas.map((node) => stopped(node, HUNG_MS));
        // Otherwise a replica would later read what the primary has sent meanwhile.
        await askRedis(fleet.redis.nodes[i]?.port ?? 0, 'CLIENT KILL TYPE replica');
        await sleep(HUNG_MS / 2);
        await Promise.all([...hung, replaceKilled(i, primaries)]);
      },
    });
  }
  const beforeMs = risk === 'lost' ? AT_RISK_MS : APPENDED_MS;
  for (let round = 0; round < (quick || risk !== 'none' ? 1 : 3); round++) {
    for (const { name, strike } of strikes) {
      let atRisk = 0;
      await redis.untilReplicated();
      await fault(
        name,
        async () => {
          const notes = notesOfAccepted(backends);
          if (risk !== 'none') await sleep(beforeMs); // the notes must reach back so far
          await backends.untilAccepted(150);
          const struckMs = performance.now();
          await strike(random.pick(await redis.primaries()));
          await redis.untilReplicated();
          atRisk = notes.acceptedSince(struckMs - beforeMs, struckMs + AT_RISK_MS);
          notes.close();
        },
        { storeMayGoBack: true, ...(risk === 'none' ? {} : { mayBreak: () => allowed(risk, atRisk) }) },
      );
    }
  }
}

/** What may break if so many interactions are at risk. */
function allowed(risk: Risk, count: number): Partial<Record<RecordCount, number>> {
  return risk === 'lost' ? { lost: count } : { lost: count, duplicated: count, outOfOrder: count };
}

function scenarioOf(name: string, redis: Replicated, row: DurabilityRow, risk: Risk): Scenario {
  return {
    name,
    about: `${row.redis}: ${row.event}.`,
    fleet: { redis, ...(risk === 'none' ? { replicas: confirming() } : {}) },
    durability: row,
    ...(risk === 'none' ? {} : { load: { forgets: 0, repeats: 0 } }),
    run: (arena) => failovers(arena, redis, risk),
  };
}

/** Returns the default replicas. The services that write wait for a copy of each write. */
function confirming(): FleetSpec['replicas'] {
  const { replicas } = DEFAULT_FLEET;
  const confirmed = (own: readonly Env[]) => own.map((env) => ({ ...env, ...CONFIRM }));
  return { ...replicas, updater: confirmed(replicas.updater), 'user-cache': confirmed(replicas['user-cache']) };
}

const EVENT = 'a primary is killed, or stands still and returns';
const UNSAFE = 'the last second before the failover may be lost';
const NOTHING = 'nothing is lost';

/** A replica takes over under load. */
export const failoverScenarios: readonly Scenario[] = [
  scenarioOf(
    'sentinel',
    sentinelRedis(),
    { redis: 'primary and replica, sentinels, `CKV_CONFIRM_REPLICAS=1`', event: EVENT, promise: NOTHING },
    'none',
  ),
  scenarioOf(
    'sentinel-unconfirmed',
    sentinelRedis(),
    { redis: 'primary and replica, sentinels', event: EVENT, promise: UNSAFE },
    'lost',
  ),
  scenarioOf(
    'cluster',
    clusterRedis(),
    { redis: 'cluster of 3 + 3 servers, `CKV_CONFIRM_REPLICAS=1`', event: EVENT, promise: NOTHING },
    'none',
  ),
  scenarioOf(
    'cluster-unconfirmed',
    clusterRedis(),
    { redis: 'cluster of 3 + 3 servers', event: EVENT, promise: `${UNSAFE}, or apply twice` },
    'each server for itself',
  ),
];
