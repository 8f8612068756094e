import { median } from './statistics.js';

/** Values by key, round after round. */
export interface Rounds<Key> {
  add(key: Key, ...values: number[]): void;
  /** The median of a key's values; NaN without any. */
  median(key: Key): number;
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
    sum: (key) => of(key).reduce((sum, value) => sum + value, 0),
  };
}
