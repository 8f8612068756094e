import { join } from 'node:path';
import { HOP_FAULTS, type HopFault } from '../faults/hop-faults.js';
import { killed, stopped } from '../faults/process-faults.js';
import { FIXTURE_BUNDLES } from '../fleet/fleet.js';
import type { Scenario } from '../scenario.js';

/** A bundle whose rows depend on the rows before them: the updater reads records before it appends. */
export const history: Scenario = {
  name: 'history',
  about: 'A bundle that encodes with history (HSTU), under kills, stops, and late or lost calls of the write path.',
  fleet: { bundlesDir: join(FIXTURE_BUNDLES, 'hstu') },
  load: { interactionsPerSecond: 250, userLife: [20, 150] },
  async run({ fleet, random, backends, fault }) {
    const { updater, 'user-cache': userCache } = fleet.services;
    const [redis] = fleet.redis.nodes;
    if (!redis) throw new Error('there is no Redis');
    const onHops = (['updater-user-cache', 'user-cache-redis', 'updater-redis'] as const).flatMap((hop) =>
      Object.entries(HOP_FAULTS).map(([name, strike]): [string, () => Promise<void>] => [
        `${name} of ${hop}`,
        () => (strike as HopFault)(random.pick(fleet.hops.of(hop)).pipe, random.pick([1_500, 6_000])),
      ]),
    );
    const strikes: [string, () => Promise<void>][] = [
      ['kill -9 of updater', () => killed(random.pick(updater))],
      ['kill -9 of user-cache', () => killed(random.pick(userCache))],
      ['kill -9 of redis', () => killed(redis)],
      ['SIGSTOP of updater for 7.5 s', () => stopped(random.pick(updater), 7_500)],
      ['SIGSTOP of user-cache for 7.5 s', () => stopped(random.pick(userCache), 7_500)],
      ['SIGTERM of updater', () => killed(random.pick(updater), 0, 'SIGTERM')],
      ...onHops,
    ];
    for (const [name, strike] of random.shuffle(strikes)) {
      await fault(name, async () => {
        await backends.untilAccepted(100);
        await strike();
      });
    }
  },
};
