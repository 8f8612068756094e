import { setTimeout as sleep } from 'node:timers/promises';
import { type RedisClock, redisClocks } from '../faults/redis-clock.js';
import type { RedisForm } from '../fleet/redis-form.js';
import type { OwnServer } from '../fleet/redis-node.js';
import { startOwnServer } from '../fleet/redis-node.js';
import { notesOfAccepted } from '../load/accepted-notes.js';
import type { Scenario } from '../scenario.js';

/** How far the clock is set, s. */
const JUMPS_S = [10, -10, 86_400, -86_400] as const;
/** The queue remembers every call for so long, by this clock. After a longer jump ahead it has forgotten all calls. */
const REMEMBERED_S = 60;
/** Redis sees a jump within this time. */
const SEEN_MS = 100;

let clock: RedisClock | undefined;

const redis: RedisForm = {
  about: 'one server, appendfsync always, with a clock of its own',
  async start(dir) {
    clock = (await redisClocks(dir))?.('redis');
    const options = { dir: `${dir}/server`, dataDir: `${dir}/redis`, fsync: 'always' } as const;
    const server: OwnServer = await startOwnServer('redis', { ...options, ...(clock ? { env: clock.env } : {}) });
    return { url: server.url, port: server.port, nodes: [server], stop: () => server.stop() };
  },
};

/** The clock of Redis jumps, alone and while an updater dies: then the leases of the dead one must end. */
export const redisClock: Scenario = {
  name: 'redis-clock',
  about: 'The clock of Redis jumps by 10 s or a day, ahead or back, alone and while an updater dies.',
  fleet: { redis },
  // A call that had succeeded, and is sent again after a day by this clock, counts again.
  load: { repeats: 0 },
  async run({ fleet, random, backends, fault }) {
    if (!clock) {
      console.log('    left out: a clock for Redis needs Linux and a C compiler');
      return;
    }
    const { set } = clock;
    let aheadS = 0;
    /** Interactions of calls that were under way while the queue forgot them: sent again, they may apply twice. */
    let atRisk = 0;

    async function jumpTo(toS: number): Promise<void> {
      const forgets = toS - aheadS > REMEMBERED_S;
      const notes = notesOfAccepted(backends);
      const sinceMs = performance.now();
      await set(toS);
      await sleep(SEEN_MS);
      if (forgets) atRisk += notes.acceptedSince(sinceMs);
      notes.close();
      aheadS = toS;
    }

    /** Causes a fault with jumps. The promise allows that calls apply twice only if the queue forgot them. */
    async function jumping(name: string, forgets: boolean, strike: () => Promise<void>): Promise<void> {
      atRisk = 0;
      await fault(name, strike, forgets ? { mayBreak: () => ({ duplicated: atRisk }) } : {});
    }

    for (const jumpS of random.shuffle([...JUMPS_S])) {
      const far = Math.abs(jumpS) > REMEMBERED_S;
      await jumping(`the clock of Redis jumps by ${jumpS} s, and back`, far, async () => {
        await backends.untilAccepted(100);
        await jumpTo(jumpS);
        await backends.untilAccepted(300);
        await jumpTo(0);
      });
      await jumping(`an updater dies as the clock of Redis jumps by ${jumpS} s`, far && jumpS > 0, async () => {
        await backends.untilAccepted(100);
        const updater = random.pick(fleet.services.updater);
        await Promise.all([updater.kill(), jumpTo(jumpS)]);
        await backends.untilAccepted(300);
        await updater.restart();
        await updater.untilReady();
      });
      await jumping(`the clock of Redis jumps back from ${jumpS} s`, far && jumpS < 0, async () => {
        await backends.untilAccepted(100);
        await jumpTo(0);
      });
      await jumpTo(0); // also if that fault is left out
    }
  },
};
