import { addressRedis } from '../fleet/redis-address.js';
import type { Scenario } from '../scenario.js';

const redis = addressRedis();

/** The address of Redis leads to another server, and nothing closes the old connections. */
export const address: Scenario = {
  name: 'one-address',
  about: 'Redis fails over behind one address. The old primary lives on as a replica and keeps the open connections.',
  fleet: { redis },
  async run({ backends, quick, fault }) {
    for (let round = 0; round < (quick ? 1 : 4); round++) {
      await fault('a failover behind one address', async () => {
        await redis.untilReplicated();
        await backends.untilAccepted(200);
        await redis.failOver();
      });
    }
  },
};
