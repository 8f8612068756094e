import type { Random } from './random.js';
import { addScaled, type Vector } from './vector.js';
import type { World } from './world.js';

const LONG_TERM_WEIGHTS = [1.1, 0.9, 0.7];
const AVERSION_WEIGHTS = [-0.9, -0.7];
const SHORT_TERM_WEIGHTS = [1.2, 0.9];
/** Mean life of a short-term interest, in exposures and in hours. */
const SHORT_TERM_EXPOSURES = 300;
const SHORT_TERM_HOURS = 240;

/** A topic that a user likes (weight above 0) or avoids (below 0). */
export interface Interest {
  readonly topic: number;
  readonly weight: number;
}

/** A user's interests. Long-term interests stay; short-term interests are replaced as time passes. */
export interface Interests {
  all(): readonly Interest[];
  /** Returns the weighted sum of the topics' directions. */
  taste(): Vector;
  /** Lets time pass. A new interest may replace each short-term interest. */
  drift(exposureCount: number, hours: number): void;
}

/** Draws a user's first interests. The same random stream then drives their drift. */
export function createInterests(world: World, random: Random): Interests {
  const draw = (weight: number): Interest => ({ topic: random.integer(world.topics.length), weight });
  const lasting = [...LONG_TERM_WEIGHTS, ...AVERSION_WEIGHTS].map(draw);
  let passing = SHORT_TERM_WEIGHTS.map(draw);
  let taste = tasteOf(world, [...lasting, ...passing]);
  return {
    all: () => [...lasting, ...passing],
    taste: () => taste,
    drift(exposureCount, hours) {
      const replaced = 1 - Math.exp(-exposureCount / SHORT_TERM_EXPOSURES - hours / SHORT_TERM_HOURS);
      let changed = false;
      passing = passing.map((interest) => {
        if (!random.chance(replaced)) return interest;
        changed = true;
        return draw(interest.weight);
      });
      if (changed) taste = tasteOf(world, [...lasting, ...passing]);
    },
  };
}

function tasteOf(world: World, interests: readonly Interest[]): Vector {
  const taste = new Float64Array(world.latentWidth);
  for (const { topic, weight } of interests) {
    const direction = world.topics[topic]?.direction;
    if (direction !== undefined) addScaled(taste, direction, weight);
  }
  return taste;
}
