import { createUser, type SimulatedUser } from './simulated-user.js';
import { createWorld } from './world.js';

/** Options of {@link createFeedSimulator}. */
export interface FeedSimulatorOptions {
  /** Fixes the world and every user in it. */
  readonly seed: number;
  /** Items in the world, at least 2. Default 2,000. */
  readonly itemCount?: number;
}

/** A deterministic clickstream in which history matters and interests drift. */
export interface FeedSimulator {
  readonly itemIds: readonly string[];
  /** A new user at the start of its life; any index from 0. The same index gives the same life. */
  user(index: number): SimulatedUser;
}

/** Creates the simulator of a seed. Throws a RangeError for fewer than 2 items. */
export function createFeedSimulator({ seed, itemCount = 2_000 }: FeedSimulatorOptions): FeedSimulator {
  if (!Number.isInteger(itemCount) || itemCount < 2) throw new RangeError('itemCount must be an integer of at least 2');
  const world = createWorld(seed, itemCount);
  return {
    itemIds: world.items.map((item) => item.itemId),
    user: (index) => createUser(world, index),
  };
}
