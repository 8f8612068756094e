import { SERVICE_NAMES } from '@collectivekv/dev-stack';
import type { Scenario } from '../scenario.js';

/** A deployment: every replica is restarted, one after the other. */
export const rollingRestart: Scenario = {
  name: 'rolling-restart',
  about: 'Two replicas of every service are restarted by SIGTERM, one after the other, and all at once by kill -9.',
  fleet: {
    replicas: {
      pool: [{}, {}],
      'user-cache': [{}, {}],
      ranking: [{ CKV_DRAIN_DELAY_MS: '500' }, { CKV_DRAIN_DELAY_MS: '500' }],
      updater: [{}, {}],
    },
  },
  async run({ fleet, random, backends, fault }) {
    for (let round = 0; round < 3; round++) {
      for (const name of random.shuffle(SERVICE_NAMES)) {
        await fault(`rolling restart of ${name}`, async () => {
          for (const service of fleet.services[name]) {
            await backends.untilAccepted(100);
            await service.kill('SIGTERM');
            await service.restart();
            await service.untilReady();
          }
        });
      }
      await fault('kill -9 of every process of the write path at once', async () => {
        const all = [...fleet.services.updater, ...fleet.services['user-cache'], ...fleet.redis.nodes];
        await backends.untilAccepted(100);
        await Promise.all(all.map((process) => process.kill()));
        await Promise.all(all.map((process) => process.restart()));
      });
    }
  },
};
