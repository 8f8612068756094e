import { HOP_FAULTS } from '../faults/hop-faults.js';
import { stopped } from '../faults/process-faults.js';
import type { Scenario } from '../scenario.js';

/** Writes that reach Redis after newer ones, or after their fence. */
export const lateWrites: Scenario = {
  name: 'late-writes',
  about: 'Appends and removals reach the user-cache or Redis late: after their retry, newer events, and their fence.',
  quick: true,
  // Few users with many events: their rings turn over while a call is late.
  load: { backendCount: 4, usersPerBackend: 5, userLife: [100, 1_300], forgets: 0.06 },
  async run({ fleet, random, quick, backends, fault }) {
    const hops = ['user-cache-redis', 'updater-user-cache', 'updater-redis', 'backend-updater'] as const;
    const strikes = hops.flatMap((hop) =>
      (['stall', 'late', 'lose-replies'] as const).map((name) => ({
        name: `${name} of ${hop}`,
        strike: () => HOP_FAULTS[name](random.pick(fleet.hops.of(hop)).pipe, random.pick([700, 2_500, 4_600, 7_500])),
      })),
    );
    const all = [
      ...strikes,
      {
        name: 'SIGSTOP of user-cache for 7 s',
        strike: () => stopped(random.pick(fleet.services['user-cache']), 7_000),
      },
      {
        name: 'SIGSTOP of user-cache for 4.6 s',
        strike: () => stopped(random.pick(fleet.services['user-cache']), 4_600),
      },
    ];
    const chosen = quick ? random.shuffle(all).slice(0, 2) : random.shuffle([...all, ...all]);
    for (const { name, strike } of chosen) {
      await fault(name, async () => {
        await backends.untilAccepted(200);
        await strike();
      });
    }
  },
};
