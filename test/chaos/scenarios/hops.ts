import { HOP_FAULTS, type HopFault } from '../faults/hop-faults.js';
import { HOP_NAMES, type Hop, type HopName } from '../fleet/hops.js';
import type { Scenario } from '../scenario.js';

/** A time beyond the leases of 5 s, the fences of 4.5 s, and the silence of 5 s after which connections are closed. */
const LONG_MS = 7_500;
/** Hops on which one way must live: without it there is no answer. */
const ONE_LIVES: readonly HopName[] = ['backend-ranking'];

/** Every fault on every hop. */
export const hops: Scenario = {
  name: 'hops',
  about: 'Every connection is stalled, slowed, cut, left half-open, and delivers late or without replies.',
  async run({ fleet, random, backends, fault }) {
    const pairs = HOP_NAMES.flatMap((hop) =>
      Object.entries(HOP_FAULTS).map(([name, strike]) => ({ hop, name, strike })),
    );
    for (const { hop, name, strike } of random.shuffle(pairs)) {
      const ways = chosenWays(fleet.hops.of(hop), !ONE_LIVES.includes(hop) && random.chance(0.5));
      const forMs = random.chance(0.5) ? LONG_MS : random.whole(500, 3_000);
      await fault(`${name} of ${hop}, ${ways.length} ways, ${forMs} ms`, async () => {
        await backends.untilAccepted(150);
        await Promise.all(ways.map(({ pipe }) => (strike as HopFault)(pipe, forMs)));
      });
    }

    /** Returns all ways of a hop, or those of one replica. */
    function chosenWays(ways: readonly Hop[], all: boolean): readonly Hop[] {
      if (all) return ways;
      const one = random.pick(ways);
      const side = hop1(one.name);
      return ways.filter((way) => way[side] === one[side]);
    }
  },
};

/** Returns the end of a hop that has several replicas of its own: the faults of one way strike one of them. */
function hop1(name: HopName): 'from' | 'to' {
  return name.startsWith('backend-') ? 'to' : 'from';
}
