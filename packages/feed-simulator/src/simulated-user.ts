import { createInterests, type Interest } from './interests.js';
import { createRandom, mixSeeds, type Random } from './random.js';
import { type Action, type Meeting, react, round } from './reaction.js';
import { drawItem, type Item, type World } from './world.js';

const HOUR_MS = 3_600_000;
/** Share of items that the feed picks from the user's interests. The other items come from all topics. */
const INTEREST_SHARE = 0.45;
/** Spread of a user's attachments to items, in units of affinity. */
const ATTACHMENT_SPREAD = 0.7;

/** One item shown to a user, with the user's reaction. */
export interface Exposure {
  readonly userId: string;
  readonly itemId: string;
  readonly timestampMs: number;
  readonly action: Action;
  /** 1 for a click or a like. */
  readonly label: 0 | 1;
  /** [0, 1]. */
  readonly watchRatio: number;
  /** [0, 1]. */
  readonly freshness: number;
  /** UTC hour of the day, [0, 24). */
  readonly hour: number;
}

/** An item to rank, and the label that the user would give it now. */
export interface SimulatedCandidate {
  readonly itemId: string;
  readonly freshness: number;
  readonly label: 0 | 1;
}

/** A user whose interests drift with every exposure and every hour. */
export interface SimulatedUser {
  readonly userId: string;
  /** Shows `count` items, the first at `timestampMs`. The interests drift as time passes. */
  expose(count: number, timestampMs: number): Exposure[];
  /**
   * Returns `count` different items to rank at `timestampMs`, or all items if the world has fewer. Changes nothing:
   * until the next exposure, the same call gives the same answer.
   */
  candidates(count: number, timestampMs: number): SimulatedCandidate[];
  /** Returns the current interests, the cause of the clicks. For tests. */
  interests(): readonly Interest[];
}

/** Creates the user with an index. All its randomness comes from the world's seed and the index. */
export function createUser(world: World, index: number): SimulatedUser {
  const userId = `u${String(index).padStart(6, '0')}`;
  const random = createRandom(mixSeeds(world.seed, 2, index));
  const interests = createInterests(world, random);
  const met: Item[] = []; // by every exposure, so an item met often is met again often
  let lastMs: number | undefined;

  function meet(timestampMs: number, stream: Random): Meeting {
    const item = pickItem(world, interests.all(), met, stream);
    return {
      item,
      attachment: attachment(world, index, item),
      freshness: round(stream.uniform() ** 1.5, 3),
      hour: Math.floor(((timestampMs / HOUR_MS) % 24) * 100) / 100,
    };
  }

  return {
    userId,
    interests: () => interests.all(),
    expose(count, timestampMs) {
      const exposures: Exposure[] = [];
      let nowMs = timestampMs;
      for (let i = 0; i < count; i++) {
        interests.drift(1, Math.max(0, nowMs - (lastMs ?? nowMs)) / HOUR_MS);
        const meeting = meet(nowMs, random);
        const reaction = react(world, interests.taste(), meeting, random);
        const { item, freshness, hour } = meeting;
        exposures.push({ userId, itemId: item.itemId, timestampMs: nowMs, ...reaction, freshness, hour });
        lastMs = nowMs;
        nowMs += 2_000 + Math.round(30_000 * reaction.watchRatio);
        met.push(item);
      }
      return exposures;
    },
    candidates(count, timestampMs) {
      const stream = createRandom(mixSeeds(world.seed, 3, index, met.length, timestampMs));
      const chosen = new Map<string, SimulatedCandidate>();
      const wanted = Math.min(count, world.items.length);
      while (chosen.size < wanted) {
        const meeting = meet(timestampMs, stream);
        if (chosen.has(meeting.item.itemId)) continue;
        const { label } = react(world, interests.taste(), meeting, stream);
        chosen.set(meeting.item.itemId, { itemId: meeting.item.itemId, freshness: meeting.freshness, label });
      }
      return [...chosen.values()];
    },
  };
}

function pickItem(world: World, interests: readonly Interest[], met: readonly Item[], random: Random): Item {
  const again = world.repeatShare > 0 && random.chance(world.repeatShare) ? met[random.integer(met.length)] : undefined;
  if (again !== undefined) return again;
  const interest = random.chance(INTEREST_SHARE) ? interests[random.integer(interests.length)] : undefined;
  const index = interest !== undefined && interest.weight > 0 ? interest.topic : random.integer(world.topics.length);
  const topic = world.topics[index];
  if (topic === undefined) throw new RangeError(`no topic ${index}`);
  return drawItem(topic, random);
}

/**
 * Returns how much a user is attached to an item, in units of affinity: always the same, and 0 without repeat visits.
 */
function attachment(world: World, userIndex: number, item: Item): number {
  if (world.repeatShare === 0) return 0;
  return ATTACHMENT_SPREAD * createRandom(mixSeeds(world.seed, 5, userIndex, item.index)).normal();
}
