import type { InteractionInput } from '@collectivekv/client';
import { createFeedSimulator, type SimulatedUser } from '@collectivekv/feed-simulator';

/** A rank request of a user, with the user's reaction to each candidate. */
export interface LabelledCase {
  readonly userId: string;
  readonly candidateIds: readonly string[];
  readonly candidateFeatures: { readonly freshness: readonly number[] };
  readonly contextFeatures: { readonly hour: number };
  /** 1 for a candidate that the user would click now, otherwise 0. */
  readonly labels: readonly number[]; // [candidates]
}

/** Simulated users. What a user did decides what the user will click. */
export interface DrillFeed {
  /** Returns what makes the interactions of a new user, by their place among the user's interactions. */
  interactionsOf(userId: string): (seq: number) => Required<InteractionInput>;
  /** Returns a request for a user as the user is now. */
  rankCase(userId: string): LabelledCase;
}

/** The world of the drill, for the training too: few items, so that a small log teaches all of them. */
export const WORLD = { seed: 1, itemCount: 200, topicCount: 10 } as const;

const FIRST_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const SESSION = 25;
const SESSION_GAP_MS = 12 * HOUR_MS;
const CANDIDATES = 10;
const CASE_SPREAD_MS = 60_000;

interface DrillUser {
  readonly simulated: SimulatedUser;
  nowMs: number;
  caseCount: number;
}

/** Creates the feed. Users are numbered as they come. */
export function createDrillFeed(): DrillFeed {
  const simulator = createFeedSimulator(WORLD);
  const users = new Map<string, DrillUser>();

  return {
    interactionsOf(userId) {
      const user: DrillUser = { simulated: simulator.user(users.size), nowMs: FIRST_MS, caseCount: 0 };
      users.set(userId, user);
      return (seq) => {
        if (seq > 0 && seq % SESSION === 0) user.nowMs += SESSION_GAP_MS;
        const [exposure] = user.simulated.expose(1, user.nowMs);
        if (!exposure) throw new Error('the simulator showed nothing');
        const { itemId, timestampMs, action, watchRatio } = exposure;
        user.nowMs = timestampMs + 2_000 + Math.round(30_000 * watchRatio);
        return {
          eventId: `${userId}/${seq}`,
          userId,
          itemId,
          timestampMs,
          action,
          features: { watch_ratio: watchRatio },
        };
      };
    },
    rankCase(userId) {
      const user = users.get(userId);
      if (!user) throw new Error(`${userId} is not a user of the feed`);
      // Each time draws other candidates.
      const atMs = user.nowMs + (user.caseCount++ % CASE_SPREAD_MS);
      const candidates = user.simulated.candidates(CANDIDATES, atMs);
      return {
        userId,
        candidateIds: candidates.map(({ itemId }) => itemId),
        candidateFeatures: { freshness: candidates.map(({ freshness }) => freshness) },
        contextFeatures: { hour: (atMs / HOUR_MS) % 24 },
        labels: candidates.map(({ label }) => label),
      };
    },
  };
}
