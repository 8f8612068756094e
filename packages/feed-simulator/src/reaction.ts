import type { Random } from './random.js';
import { dot, type Vector } from './vector.js';
import type { Item, World } from './world.js';

const BASE_LOGIT = -1.5;
const AFFINITY_LOGITS = 2.6;
const FRESHNESS_LOGITS = 0.5;
const HOUR_LOGITS = 0.3;

/** A user's action on an item on screen. */
export type Action = 'skip' | 'click' | 'like';

/** A user's reaction to an item. */
export interface Reaction {
  readonly action: Action;
  /** 1 for a click or a like. */
  readonly label: 0 | 1;
  /** Share of the item that was watched, [0, 1], to three decimals. */
  readonly watchRatio: number;
}

/** An item, and the circumstances in which the user meets it. */
export interface Meeting {
  readonly item: Item;
  /** What the user feels for this item alone, in units of affinity. */
  readonly attachment: number;
  /** [0, 1]. Users like fresh items a little more. */
  readonly freshness: number;
  /** Hour of the day, [0, 24). */
  readonly hour: number;
}

/**
 * Draws the user's reaction. Taste decides most of it. The item's quality, its freshness and the hour decide some, and
 * chance decides the rest.
 */
export function react(world: World, taste: Vector, meeting: Meeting, random: Random): Reaction {
  const { item, attachment, freshness, hour } = meeting;
  const affinity = dot(taste, item.direction) + attachment;
  const peakHour = world.topics[item.topic]?.peakHour ?? 0;
  const logit =
    BASE_LOGIT +
    AFFINITY_LOGITS * affinity +
    item.quality +
    FRESHNESS_LOGITS * (2 * freshness - 1) +
    HOUR_LOGITS * Math.cos(((hour - peakHour) / 24) * 2 * Math.PI);
  const label = random.chance(sigmoid(logit)) ? 1 : 0;
  const liked = random.chance(sigmoid(2 * affinity - 2.2));
  const pull = sigmoid(2 * affinity - 0.5);
  const watched = label === 1 ? 0.3 + 0.6 * pull : 0.05 + 0.3 * pull;
  return {
    action: label === 0 ? 'skip' : liked ? 'like' : 'click',
    label,
    watchRatio: round(Math.min(1, Math.max(0, watched + 0.12 * random.normal())), 3),
  };
}

/** Rounds to `decimals` places. The number in memory then equals the number in a log. */
export function round(value: number, decimals: number): number {
  const scale = 10 ** decimals;
  return Math.round(value * scale) / scale;
}

function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
