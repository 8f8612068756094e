import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack } from '@collectivekv/dev-stack';
import { killed } from '@collectivekv/test-chaos/faults/process-faults';
import type { Random } from '@collectivekv/test-chaos/random';

/** Services that are killed. Each has two replicas, of which one is away at a time. */
export const MORTALS = ['updater', 'user-cache', 'ranking'] as const;

/** Kills at random moments, from a seed. */
export interface Killer {
  /** Kills so far, by what was killed. */
  readonly kills: Readonly<Record<string, number>>;
  /** Counts a kill of something else. */
  count(what: string): void;
  stop(): Promise<void>;
}

const PAUSE_MS = [500, 3_500] as const;
const AWAY_MS = [0, 0, 1_000];

/** Starts to kill a replica, to start it again, and to wait until it works, again and again. */
export function startKiller({ services }: Stack, random: Random): Killer {
  const kills: Record<string, number> = {};
  const count = (what: string) => {
    kills[what] = (kills[what] ?? 0) + 1;
  };
  const stopping = new AbortController();

  async function run(): Promise<void> {
    let next: (typeof MORTALS)[number][] = [];
    while (!stopping.signal.aborted) {
      await sleep(random.whole(...PAUSE_MS), undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      if (next.length === 0) next = random.shuffle(MORTALS);
      const name = next.pop() ?? 'updater';
      await killed(random.pick(services[name]), random.pick(AWAY_MS));
      count(name);
    }
  }

  const running = run();
  running.catch(() => undefined); // thrown by stop
  return {
    kills,
    count,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
