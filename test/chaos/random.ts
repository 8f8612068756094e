import { createHash } from 'node:crypto';

/** Random choices that a seed repeats. */
export interface Random {
  /** A number in [0, 1). */
  fraction(): number;
  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  /** One of the entries. */
  pick<T>(list: readonly T[]): T;
  /** The entries in random order. */
  shuffle<T>(list: readonly T[]): T[];
  /** Other choices of the same seed. A part with choices of its own does not change the choices of other parts. */
  fork(name: string): Random;
}

/** Creates the choices of a seed: mulberry32. */
export function createRandom(seed: string): Random {
  let state = createHash('sha256').update(seed).digest().readInt32LE(0);
  const fraction = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (least: number, most: number) => least + Math.floor(fraction() * (most - least + 1));
  return {
    fraction,
    whole,
    chance: (probability) => fraction() < probability,
    pick(list) {
      const entry = list[whole(0, list.length - 1)];
      if (entry === undefined) throw new Error('the list is empty');
      return entry;
    },
    shuffle(list) {
      const left = [...list];
      return list.map(() => left.splice(whole(0, left.length - 1), 1)[0] as (typeof list)[number]);
    },
    fork: (name) => createRandom(`${seed} ${name}`),
  };
}
