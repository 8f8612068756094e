import { setTimeout as sleep } from 'node:timers/promises';
import { stopped } from '../faults/process-faults.js';
import { clusterRedis } from '../fleet/redis-cluster.js';
import type { Arena, Scenario } from '../scenario.js';

/** Long enough for the replica to take over, and for the old primary to return with stale data. */
const AWAY_MS = [5_000, 9_000] as const;

const redis = clusterRedis(['--min-replicas-to-write', '1', '--min-replicas-max-lag', '2']);

async function failovers({ fleet, backends, random, quick, fault }: Arena): Promise<void> {
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    const awayMs = random.whole(...AWAY_MS);
    const strikes = [
      {
        name: 'kill -9 of a primary',
        async strike(i: number) {
          await fleet.redis.nodes[i]?.kill();
          while ((await redis.primaries()).length < 3) await sleep(50);
          await fleet.redis.nodes[i]?.restart();
        },
      },
      {
        name: `SIGSTOP of a primary for ${awayMs} ms, which returns as a stale primary`,
        async strike(i: number) {
          const node = fleet.redis.nodes[i];
          if (node) await stopped(node, awayMs);
        },
      },
    ];
    for (const { name, strike } of strikes) {
      await redis.untilReplicated();
      await fault(
        name,
        async () => {
          await backends.untilAccepted(150);
          await strike(random.pick(await redis.primaries()));
          await redis.untilReplicated();
        },
        { storeMayGoBack: true },
      );
    }
  }
}

/** A primary of a cluster is replaced under load. */
export const cluster: Scenario = {
  name: 'cluster',
  about: 'A primary of a cluster of 3 + 3 servers dies or stops, and its replica takes over.',
  fleet: { redis },
  run: failovers,
};
