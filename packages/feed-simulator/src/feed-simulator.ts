import { createUser, type SimulatedUser } from './simulated-user.js';
import { createWorld } from './world.js';

/** Options of {@link createFeedSimulator}. */
export interface FeedSimulatorOptions {
  /** Determines the world and every user in it. */
  readonly seed: number;
  /** Items in the world, at least 2. Default 2,000. */
  readonly itemCount?: number;
}

/** A deterministic clickstream in which history matters and interests drift. */
export interface FeedSimulator {
  readonly itemIds: readonly string[];
  /** Creates the user with an index from 0, at the start of its life. The same index gives the same life. */
  user(index: number): SimulatedUser;
}

/**
 * Creates a simulator. The same options give the same world and users.
 * @throws RangeError if `itemCount` is below 2
 */
export function createFeedSimulator({ seed, itemCount = 2_000 }: FeedSimulatorOptions): FeedSimulator {
  if (!Number.isInteger(itemCount) || itemCount < 2) throw new RangeError('itemCount must be an integer of at least 2');
  const world = createWorld(seed, itemCount);
  return {
    itemIds: world.items.map((item) => item.itemId),
    user: (index) => createUser(world, index),
  };
}
