import { setTimeout as sleep } from 'node:timers/promises';
import { type Fsync, type OwnRedis, singleRedis } from '../fleet/redis-form.js';
import type { OwnServer } from '../fleet/redis-node.js';
import type { Arena, Scenario } from '../scenario.js';

/** With `everysec`, Redis may lose the writes of about one second. Its flush may be late while the disk is busy. */
const EVERYSEC_MS = 1_000;
/** Interactions that were accepted so much earlier may be lost as well: their writes came later than their calls. */
const SLACK_MS = 1_000;

/** Cuts the power of a server under load. */
async function cut(
  { backends, random, fault }: Arena,
  name: string,
  { server, lostMs }: { readonly server: OwnServer; readonly lostMs: number },
): Promise<void> {
  /** Interactions accepted so far, by time. */
  const accepted: { readonly atMs: number; readonly count: number }[] = [];
  const note = () => accepted.push({ atMs: performance.now(), count: backends.acceptedCount });
  let atRisk = 0;
  const timer = setInterval(note, 50);
  await fault(
    name,
    async () => {
      await sleep(lostMs + SLACK_MS); // under load: the start of the notes must be out of danger
      await backends.untilAccepted(random.whole(300, 600));
      await server.cutPower(lostMs);
      clearInterval(timer);
      note();
      const safeMs = performance.now() - lostMs - SLACK_MS;
      const safe = accepted.findLast(({ atMs }) => atMs <= safeMs)?.count ?? 0;
      atRisk = lostMs === 0 ? 0 : backends.acceptedCount - safe;
      await sleep(random.pick([0, 500]));
      await server.restart();
    },
    { storeMayGoBack: lostMs > 0, ...(lostMs > 0 ? { mayLose: () => atRisk } : {}) },
  );
}

function powerCuts(fsync: Fsync, rounds: number): Scenario {
  const redis: OwnRedis = singleRedis(fsync);
  const lostMs = fsync === 'always' ? 0 : EVERYSEC_MS;
  return {
    name: `power-cut-${fsync}`,
    about: `The power of Redis fails and comes back, with appendfsync ${fsync}.`,
    fleet: { redis },
    // What was lost and is sent again comes late, and the oracle cannot tell a lost removal from a second application.
    load: lostMs > 0 ? { forgets: 0, repeats: 0 } : {},
    async run(arena) {
      for (let round = 0; round < (arena.quick ? 1 : rounds); round++) {
        await cut(arena, 'a power cut of Redis', { server: redis.servers().queue, lostMs });
      }
    },
  };
}

/** Redis flushes every write before it answers. */
export const powerCutAlways = powerCuts('always', 4);
/** Redis flushes once a second. */
export const powerCutEverysec = powerCuts('everysec', 4);
