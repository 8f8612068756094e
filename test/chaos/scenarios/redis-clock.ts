import { type RedisClock, redisClocks } from '../faults/redis-clock.js';
import type { RedisForm } from '../fleet/redis-form.js';
import type { OwnServer } from '../fleet/redis-node.js';
import { startOwnServer } from '../fleet/redis-node.js';
import type { Scenario } from '../scenario.js';

/** How far the clock is set, s. */
const JUMPS_S = [10, -10, 86_400, -86_400] as const;

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
  // The queue remembers calls for an hour by this clock. A day later, a call that is sent again counts again.
  load: { repeats: 0 },
  async run({ fleet, random, backends, fault }) {
    if (!clock) {
      console.log('    left out: a clock for Redis needs Linux and a C compiler');
      return;
    }
    const { set } = clock;
    for (const jumpS of random.shuffle([...JUMPS_S])) {
      await fault(`the clock of Redis jumps by ${jumpS} s, and back`, async () => {
        await backends.untilAccepted(100);
        await set(jumpS);
        await backends.untilAccepted(300);
        await set(0);
      });
      await fault(`an updater dies as the clock of Redis jumps by ${jumpS} s`, async () => {
        await backends.untilAccepted(100);
        const updater = random.pick(fleet.services.updater);
        await Promise.all([updater.kill(), set(jumpS)]);
        await backends.untilAccepted(300);
        await updater.restart();
        await updater.untilReady();
      });
      await set(0);
    }
  },
};
