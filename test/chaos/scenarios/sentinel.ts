import { setTimeout as sleep } from 'node:timers/promises';
import { stopped } from '../faults/process-faults.js';
import { sentinelRedis } from '../fleet/redis-sentinel.js';
import type { Arena, Scenario } from '../scenario.js';

/** Long enough for the sentinels to replace the primary, and for the old primary to return with stale data. */
const AWAY_MS = [4_000, 9_000] as const;

const redis = sentinelRedis(['--min-replicas-to-write', '1', '--min-replicas-max-lag', '2']);

async function failovers({ fleet, backends, random, quick, fault }: Arena): Promise<void> {
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    const awayMs = random.whole(...AWAY_MS);
    const strikes = [
      {
        name: 'kill -9 of the primary',
        async strike(i: number) {
          await fleet.redis.nodes[i]?.kill();
          while ((await redis.primary()) === i) await sleep(50);
          await fleet.redis.nodes[i]?.restart();
        },
      },
      {
        name: `SIGSTOP of the primary for ${awayMs} ms, which returns as a stale primary`,
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
          await strike(await redis.primary());
          await redis.untilReplicated();
        },
        { storeMayGoBack: true },
      );
    }
  }
}

/** Sentinels replace the primary under load. */
export const sentinel: Scenario = {
  name: 'sentinel',
  about: 'The primary dies or stops, and the sentinels make its replica the primary.',
  fleet: { redis },
  run: failovers,
};
