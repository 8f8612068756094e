import { HOP_FAULTS, type HopFault } from '../faults/hop-faults.js';
import type { Hop, HopName } from '../fleet/hops.js';
import type { Arena, Scenario } from '../scenario.js';

/** A time beyond the leases of 5 s, the fences of 4.5 s, and the silence of 5 s after which connections are closed. */
const LONG_MS = 7_500;
/** Hops on which one way must live: without it there is no answer. */
const ONE_LIVES: readonly HopName[] = ['backend-ranking'];

/** Every fault on every hop of the write path. */
export const writeHops: Scenario = {
  name: 'write-hops',
  about: 'Every connection of the write path is stalled, slowed, cut, half-open, late, or loses replies.',
  run: (arena) => strikeAll(arena, ['backend-updater', 'updater-redis', 'updater-user-cache', 'user-cache-redis']),
};

/** Every fault on every hop of the read path and of bundles. */
export const readHops: Scenario = {
  name: 'read-hops',
  about:
    'Every connection of the read path and to the pool is stalled, slowed, cut, half-open, late, or loses replies.',
  run: (arena) =>
    strikeAll(arena, ['backend-ranking', 'ranking-redis', 'ranking-user-cache', 'ranking-pool', 'updater-pool']),
};

/** Causes every fault on all ways of each hop, or on those of one replica. */
async function strikeAll({ fleet, random, backends, fault }: Arena, names: readonly HopName[]): Promise<void> {
  const pairs = names.flatMap((hop) => Object.entries(HOP_FAULTS).map(([name, strike]) => ({ hop, name, strike })));
  for (const { hop, name, strike } of random.shuffle(pairs)) {
    const ways = fleet.hops.of(hop);
    const struck = !ONE_LIVES.includes(hop) && random.chance(0.5) ? ways : waysOfOne(ways, random.pick(ways));
    const forMs = random.chance(0.5) ? LONG_MS : random.whole(500, 3_000);
    await fault(`${name} of ${hop}, ${struck.length} of ${ways.length} ways, ${forMs} ms`, async () => {
      await backends.untilAccepted(150);
      await Promise.all(struck.map(({ pipe }) => (strike as HopFault)(pipe, forMs)));
    });
  }
}

/** Returns the ways that share a replica with this one: the replica that connects, or that backends connect to. */
function waysOfOne(ways: readonly Hop[], one: Hop): readonly Hop[] {
  const side = one.name.startsWith('backend-') ? 'to' : 'from';
  return ways.filter((way) => way[side] === one[side]);
}
