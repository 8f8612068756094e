import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type CollectiveKvClient, type RankInput, type Ranking } from '@collectivekv/client';
import type { Random } from '../random.js';
import type { SentEvent, UserJournal } from './user-journal.js';
import type { Vocabulary } from './vocabulary.js';

/** A rank request, and which histories its answer may have had. */
export interface RankRequest {
  readonly journal: UserJournal;
  readonly input: RankInput;
  /** Events that came with the request, the newest ones. */
  readonly recent: readonly SentEvent[];
  /** Fewest steps that the answer's history must have. */
  readonly leastSteps: number;
}

/** Requests to rank that backends make all the time. */
export interface Ranks {
  readonly answeredCount: number;
  /** Answers on a lower rung. */
  readonly degradedCount: number;
  /** Requests that failed in spite of the SDK's retries, with the reason. */
  readonly failures: readonly string[];
  stop(): Promise<void>;
}

/** Parts of {@link startRanks}. */
export interface RankParts {
  readonly client: CollectiveKvClient;
  readonly vocabulary: Vocabulary;
  readonly random: Random;
  readonly users: () => readonly UserJournal[];
  readonly loops: number;
  readonly pauseMs: number;
  /** Receives every answer, and the steps that had been sent when it came. */
  readonly onAnswer: (request: RankRequest, answer: Ranking, mostSteps: number) => void;
}

/** A copy may be older than asked by the time between the read and the use of its clock. */
const STALENESS_SLACK_MS = 50;

/** Starts the requests. */
export function startRanks(parts: RankParts): Ranks {
  const { client, vocabulary, random, users, loops, pauseMs, onAnswer } = parts;
  const failures: string[] = [];
  const counts = { answered: 0, degraded: 0 };
  let running = true;

  async function loop(own: Random): Promise<void> {
    while (running) {
      const request = nextRequest(own);
      try {
        const answer = await client.rank(request.input);
        counts.answered++;
        if (answer.info.rung !== 'full') counts.degraded++;
        onAnswer(request, answer, request.journal.steps.length);
      } catch (error) {
        const reason = error instanceof CkvError ? `${error.reason}: ${error.message}` : String(error);
        if (running) failures.push(reason);
      }
      await sleep(pauseMs);
    }
  }

  function nextRequest(own: Random): RankRequest {
    const journal = own.pick(users());
    const stalenessMs = own.chance(0.25) ? own.whole(200, 2_000) : 0;
    const leastSteps = journal.appliedAt(performance.now() - (stalenessMs > 0 ? stalenessMs + STALENESS_SLACK_MS : 0));
    const forgets = journal.steps.some(({ kind }) => kind === 'forget');
    const recent = !forgets && stalenessMs === 0 && own.chance(0.25) ? journal.events.slice(-own.whole(1, 10)) : [];
    const candidateIds = own.shuffle(vocabulary.itemIds.slice(1, 60)).slice(0, own.whole(2, 12));
    const input = {
      userId: journal.userId,
      candidateIds,
      candidateFeatures: { freshness: candidateIds.map(() => own.whole(0, 10) / 10) },
      contextFeatures: { hour: own.whole(0, 23) },
      recentInteractions: recent.map((event) => event.input),
      maxStalenessMs: stalenessMs,
    };
    return { journal, input, recent, leastSteps };
  }

  const all = Promise.all(Array.from({ length: loops }, (_, i) => loop(random.fork(`rank ${i}`))));
  return {
    get answeredCount() {
      return counts.answered;
    },
    get degradedCount() {
      return counts.degraded;
    },
    failures,
    async stop() {
      running = false;
      await all;
    },
  };
}
