import type { CollectiveKvClient, Ranking } from '@collectivekv/client';
import type { Scored } from '@collectivekv/dev-stack';
import { openLoop } from '@collectivekv/test-bench/open-loop';
import type { RankRequest } from '@collectivekv/test-chaos/load/ranks';
import type { UserJournal } from '@collectivekv/test-chaos/load/user-journal';
import type { Random } from '@collectivekv/test-chaos/random';
import type { DrillFeed } from './feed.js';
import type { PhaseLog, Sample } from './phase-log.js';
import type { SeenSteps } from './seen-steps.js';

/** Rank requests at a rate, all the time. */
export interface RankLoad {
  /** Requests that failed in spite of the SDK's retries, with the reason. */
  readonly failures: readonly string[];
  stop(): Promise<void>;
}

/** Parts of {@link startRankLoad}. */
export interface RankLoadParts {
  readonly client: CollectiveKvClient;
  readonly feed: DrillFeed;
  readonly users: () => readonly UserJournal[];
  readonly random: Random;
  readonly ratePerS: number;
  readonly phases: PhaseLog;
  readonly seen: SeenSteps;
  /** Receives every answer, and the steps that had been sent when it came. */
  readonly onAnswer: (request: RankRequest, answer: Ranking, mostSteps: number) => void;
}

/** Most requests at once. When this process was held up, those that are due wait here, and do not flood the services. */
const MAX_IN_FLIGHT = 24;
/** Every request of so many is also made without a history, for the cold level. */
const COLD_EVERY = 3;

/** Starts the requests. They are due at random times, whether or not answers come. */
export function startRankLoad(parts: RankLoadParts): RankLoad {
  const { client, feed, users, random, ratePerS, phases, seen, onAnswer } = parts;
  const failures: string[] = [];
  const waiting: (() => void)[] = [];
  let free = MAX_IN_FLIGHT;
  let running = true;

  /** Runs `work` when a place is free. */
  async function inTurn(work: () => Promise<void>): Promise<void> {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    await work();
    const next = waiting.shift();
    if (next) next();
    else free++;
  }

  async function send(i: number, dueMs: number, note: (sample: Sample) => void): Promise<void> {
    const journal = random.pick(users());
    const { labels, ...input } = feed.rankCase(journal.userId);
    const scored = ({ scores }: Ranking): Scored[] => labels.map((label, at) => ({ score: scores[at] ?? 0, label }));
    const least = seen.of(journal);
    const attempt = async (history: 'preferred' | 'ignored') => {
      try {
        return await client.rank({ ...input, history });
      } catch (error) {
        failures.push(String(error));
        return undefined;
      }
    };

    const answer = await attempt('preferred');
    const sample = { ms: performance.now() - dueMs, degraded: false, served: [], cold: [] };
    if (answer) {
      const { rung, encodingId, positionCount } = answer.info;
      const mostSteps = journal.steps.length;
      onAnswer({ journal, input, recent: [], leastSteps: least.get(encodingId) ?? 0 }, answer, mostSteps);
      if (rung === 'full' && positionCount <= mostSteps) seen.note(encodingId, journal, positionCount);
      note({ ...sample, failed: false, degraded: rung !== 'full', served: scored(answer) });
    } else note({ ...sample, failed: true });

    if (i % COLD_EVERY > 0) return;
    const cold = await attempt('ignored');
    note({ failed: !cold, degraded: false, served: [], cold: cold ? scored(cold) : [] });
  }

  const loop = openLoop({
    ratePerS,
    durationMs: Number.POSITIVE_INFINITY,
    seed: random.whole(1, 1e9),
    ended: () => !running,
    send: (i, dueMs) => {
      const note = phases.current();
      return inTurn(() => send(i, dueMs, note));
    },
  });
  return {
    failures,
    async stop() {
      running = false;
      const { failures: unexpected } = await loop;
      failures.push(...unexpected.keys());
    },
  };
}
