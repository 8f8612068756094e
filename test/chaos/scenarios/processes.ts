import { SERVICE_NAMES } from '@collectivekv/dev-stack';
import { killed, type Mortal, stopped } from '../faults/process-faults.js';
import type { Arena, Scenario } from '../scenario.js';

/** A time beyond the leases of 5 s. */
const BEYOND_LEASE_MS = 7_500;
/** Faults of a kind for each service and for Redis. */
const ROUNDS = 10;
/** The faults of `npm test`: every process of the write path dies. */
const QUICK_KILLS = /^kill -9 of (updater|user-cache|redis)$/;
/** The faults of `npm test`: an updater and a ranking replica stall beyond the lease. */
const QUICK_STOPS = /^SIGSTOP of (updater|ranking) for 7500 ms$/;

/** A fault, with the name that the report uses. */
interface NamedFault {
  readonly name: string;
  strike(): Promise<void>;
}

/** Kills every service and Redis. */
export const kills: Scenario = {
  name: 'kills',
  about: 'Every service and Redis is killed by SIGKILL and started again, at once or later. Services also get SIGTERM.',
  quick: true,
  run: (arena) =>
    strikeAll(arena, QUICK_KILLS, (name, one, round) => [
      { name: `kill -9 of ${name}`, strike: () => killed(one(), arena.random.pick([0, 0, 1_000])) },
      ...(round % 3 === 1 && name !== 'redis'
        ? [{ name: `SIGTERM of ${name}`, strike: () => killed(one(), 0, 'SIGTERM') }]
        : []),
    ]),
};

/** Stops every service and Redis for a time. */
export const stops: Scenario = {
  name: 'stops',
  about: 'Every service and Redis is stopped by SIGSTOP, for 0.3 to 7.5 s, and goes on.',
  quick: true,
  run: (arena) =>
    strikeAll(arena, QUICK_STOPS, (name, one, round) => {
      const forMs = round % 3 === 0 ? BEYOND_LEASE_MS : arena.random.whole(300, 4_000);
      return [{ name: `SIGSTOP of ${name} for ${forMs} ms`, strike: () => stopped(one(), forMs) }];
    }),
};

/** Causes the faults of every service and of Redis, in random order; in quick mode one round of those that match. */
async function strikeAll(
  { fleet, random, quick, backends, fault }: Arena,
  quickFaults: RegExp,
  faultsOf: (name: string, one: () => Mortal, round: number) => NamedFault[],
): Promise<void> {
  const targets: [string, readonly Mortal[]][] = [
    ...SERVICE_NAMES.map((name): [string, readonly Mortal[]] => [name, fleet.services[name]]),
    ['redis', fleet.redis.nodes],
  ];
  const all = targets.flatMap(([name, replicas]) =>
    Array.from({ length: quick ? 1 : ROUNDS }, (_, round) => faultsOf(name, () => random.pick(replicas), round)).flat(),
  );
  for (const { name, strike } of random.shuffle(quick ? all.filter((one) => quickFaults.test(one.name)) : all)) {
    await fault(name, async () => {
      await backends.untilAccepted(150);
      await strike();
    });
  }
}
