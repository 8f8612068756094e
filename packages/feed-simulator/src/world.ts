import { createRandom, mixSeeds, type Random } from './random.js';
import { addScaled, normalize, randomDirection, type Vector } from './vector.js';

const LATENT_WIDTH = 16;
/** The topic's share of an item's direction. The other part is individual. */
const TOPIC_SHARE = 0.8;
/** Exponent of the popularity skew: early items of a topic are shown more often. 1 means no skew. */
const POPULARITY_SKEW = 1.6;

/** A topic, such as cooking, and its items. */
export interface Topic {
  readonly direction: Vector;
  /** Hour of the day, [0, 24), at which the topic is liked most. */
  readonly peakHour: number;
  /** Most shown first. */
  readonly items: readonly Item[];
}

/** An item that a feed can show. */
export interface Item {
  /** Place in the world's list of items. */
  readonly index: number;
  readonly itemId: string;
  readonly topic: number;
  readonly direction: Vector;
  /** Appeal to all users, in logits. */
  readonly quality: number;
}

/** Topics and items that all users share. The seed determines them. */
export interface World {
  readonly seed: number;
  /** Share of exposures that show an item again that the user has met. */
  readonly repeatShare: number;
  readonly latentWidth: number;
  readonly topics: readonly Topic[];
  readonly items: readonly Item[];
}

/** Options of {@link createWorld}. */
export interface WorldPlan {
  readonly seed: number;
  readonly itemCount: number;
  readonly topicCount: number;
  readonly repeatShare: number;
}

/** Builds the world of a seed. */
export function createWorld({ seed, itemCount, topicCount, repeatShare }: WorldPlan): World {
  const random = createRandom(mixSeeds(seed, 1));
  const drafts = Array.from({ length: topicCount }, () => ({
    direction: randomDirection(random, LATENT_WIDTH),
    peakHour: random.uniform() * 24,
    items: [] as Item[],
  }));
  const items: Item[] = [];
  for (let i = 0; i < itemCount; i++) {
    const topic = i < topicCount ? i : random.integer(topicCount); // every topic gets an item
    const draft = drafts[topic];
    if (draft === undefined) throw new RangeError(`no topic ${topic}`);
    const direction = randomDirection(random, LATENT_WIDTH).map((x) => x * Math.sqrt(1 - TOPIC_SHARE ** 2));
    addScaled(direction, draft.direction, TOPIC_SHARE);
    const item: Item = {
      index: i,
      itemId: `i${String(i + 1).padStart(4, '0')}`,
      topic,
      direction: normalize(direction),
      quality: 0.5 * random.normal(),
    };
    draft.items.push(item);
    items.push(item);
  }
  return { seed, repeatShare, latentWidth: LATENT_WIDTH, topics: drafts, items };
}

/** Draws an item of a topic. Popular items are drawn more often. */
export function drawItem(topic: Topic, random: Random): Item {
  const rank = Math.floor(topic.items.length * random.uniform() ** POPULARITY_SKEW);
  const item = topic.items[rank];
  if (item === undefined) throw new RangeError('the topic has no items');
  return item;
}
