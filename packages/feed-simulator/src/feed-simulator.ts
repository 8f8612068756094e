import { createUser, type SimulatedUser } from './simulated-user.js';
import { createWorld } from './world.js';

/** Options of {@link createFeedSimulator}. */
export interface FeedSimulatorOptions {
  /** Determines the world and every user in it. */
  readonly seed: number;
  /** Items in the world, at least 2. Default 2,000. */
  readonly itemCount?: number;
  /** Topics, from 2 to as many as there are items. Default one for every 50 items. */
  readonly topicCount?: number;
  /**
   * Share of exposures that show an item again that the user has met, [0, 1). Default 0. With repeat visits, users are
   * attached to items: a reaction to an item tells about the next reaction to the same item.
   */
  readonly repeatShare?: number;
}

/** A deterministic clickstream in which history matters and interests drift. */
export interface FeedSimulator {
  readonly itemIds: readonly string[];
  /** Creates the user with an index from 0, at the start of its life. The same index gives the same life. */
  user(index: number): SimulatedUser;
}

const ITEMS_PER_TOPIC = 50;

/**
 * Creates a simulator. The same options give the same world and users.
 * @throws RangeError for options outside their ranges
 */
export function createFeedSimulator(options: FeedSimulatorOptions): FeedSimulator {
  const { seed, itemCount = 2_000, repeatShare = 0 } = options;
  if (!Number.isInteger(itemCount) || itemCount < 2) throw new RangeError('itemCount must be an integer of at least 2');
  const topicCount = options.topicCount ?? Math.max(2, Math.round(itemCount / ITEMS_PER_TOPIC));
  if (!Number.isInteger(topicCount) || topicCount < 2 || topicCount > itemCount) {
    throw new RangeError(`topicCount must be an integer from 2 to itemCount, which is ${itemCount}`);
  }
  if (!(repeatShare >= 0 && repeatShare < 1)) throw new RangeError('repeatShare must be at least 0 and below 1');
  const world = createWorld({ seed, itemCount, topicCount, repeatShare });
  return {
    itemIds: world.items.map((item) => item.itemId),
    user: (index) => createUser(world, index),
  };
}
