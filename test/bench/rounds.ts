import { median } from './statistics.js';

/** Measured values by key, in order of rounds. */
export interface Rounds<Key> {
  add(key: Key, ...values: number[]): void;
  /** Returns the median of a key's values. NaN without values. */
  median(key: Key): number;
  /** Returns the median of the rounds' ratios of two keys. A disturbance of a round affects both keys alike. */
  ratio(key: Key, over: Key): number;
  /** Returns the sum of a key's values. */
  sum(key: Key): number;
}

/** Creates an empty collection. Keys with the same text are equal. */
export function createRounds<Key>(): Rounds<Key> {
  const values = new Map<string, number[]>();
  const of = (key: Key) => values.get(String(key)) ?? [];
  return {
    add(key, ...added) {
      values.set(String(key), [...of(key), ...added]);
    },
    median: (key) => median(of(key)),
    ratio: (key, over) => median(of(key).map((value, round) => value / (of(over)[round] ?? Number.NaN))),
    sum: (key) => of(key).reduce((sum, value) => sum + value, 0),
  };
}
