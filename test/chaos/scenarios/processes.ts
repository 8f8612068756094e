import { SERVICE_NAMES } from '@collectivekv/dev-stack';
import { killed, type Mortal, stopped } from '../faults/process-faults.js';
import type { Arena, Scenario } from '../scenario.js';

/** A time beyond the leases of 5 s. */
const BEYOND_LEASE_MS = 7_500;

/** The faults of `npm test`: every process of the write path dies, and an updater and a ranking replica stall. */
const QUICK = /^(kill -9 of (updater|user-cache|redis)|SIGSTOP of (updater|ranking) for)/;

/** A fault, with the name that the report uses. */
interface NamedFault {
  readonly name: string;
  strike(): Promise<void>;
}

/** Returns every pair of a process and a fault, some of them several times. */
function faultsOf({ fleet, random }: Arena, rounds: number): NamedFault[] {
  const targets: [string, readonly Mortal[]][] = [
    ...SERVICE_NAMES.map((name): [string, readonly Mortal[]] => [name, fleet.services[name]]),
    ['redis', fleet.redis.nodes],
  ];
  return targets.flatMap(([name, replicas]) =>
    Array.from({ length: rounds }, (_, round): NamedFault[] => {
      const one = () => random.pick(replicas);
      const forMs = round % 3 === 0 ? BEYOND_LEASE_MS : random.whole(300, 4_000);
      return [
        { name: `kill -9 of ${name}`, strike: () => killed(one(), random.pick([0, 0, 1_000])) },
        { name: `SIGSTOP of ${name} for ${forMs} ms`, strike: () => stopped(one(), forMs) },
        ...(round % 3 === 1 && name !== 'redis'
          ? [{ name: `SIGTERM of ${name}`, strike: () => killed(one(), 0, 'SIGTERM') }]
          : []),
      ];
    }).flat(),
  );
}

/** Kills and stops every service and Redis. */
export const processes: Scenario = {
  name: 'processes',
  about: 'Every service and Redis is killed, stopped for a time, and restarted.',
  quick: true,
  async run(arena) {
    const faults = arena.random.shuffle(faultsOf(arena, arena.quick ? 1 : 10));
    for (const { name, strike } of arena.quick ? faults.filter((one) => QUICK.test(one.name)) : faults) {
      await arena.fault(name, async () => {
        await arena.backends.untilAccepted(150);
        await strike();
      });
    }
  },
};
