import { median } from './statistics.js';

/** Values by key, round after round. */
export interface Rounds<Key> {
  add(key: Key, ...values: number[]): void;
  /** The median of a key's values; NaN without any. */
  median(key: Key): number;
  /** The median of one key's values over another's of the same rounds: what disturbs a round disturbs both. */
  ratio(key: Key, over: Key): number;
  /** The sum of a key's values. */
  sum(key: Key): number;
}

/** Collects values by key; keys that print alike are the same. */
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
