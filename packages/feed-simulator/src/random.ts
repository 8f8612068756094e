/** A seeded stream of random numbers: the same seed gives the same stream on every machine. */
export interface Random {
  /** Returns a uniform number in [0, 1). */
  uniform(): number;
  /** Returns a standard normal number. */
  normal(): number;
  /** Returns a uniform integer in [0, bound). */
  integer(bound: number): number;
  /** Returns true with the given probability. */
  chance(probability: number): boolean;
}

/** Mixes integers into one 32-bit seed. Every user and every purpose gets its own stream that way. */
export function mixSeeds(...parts: readonly number[]): number {
  let hash = 0x9e3779b9;
  for (const part of parts) {
    hash = scramble(hash ^ (part >>> 0));
    hash = scramble(hash ^ (Math.floor(part / 2 ** 32) >>> 0));
  }
  return hash >>> 0;
}

/** Creates an sfc32 generator (Chris Doty-Humphrey, PractRand) from one 32-bit seed. */
export function createRandom(seed: number): Random {
  let a = scramble(seed);
  let b = scramble(a ^ 0x243f6a88);
  let c = scramble(b ^ 0x85a308d3);
  let counter = 1;

  function next(): number {
    const result = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return result >>> 0;
  }
  for (let i = 0; i < 12; i++) next();

  const uniform = (): number => next() / 2 ** 32;
  return {
    uniform,
    // Box-Muller; 1 - u keeps the logarithm's argument above zero.
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    integer: (bound) => Math.floor(uniform() * bound),
    chance: (probability) => uniform() < probability,
  };
}

/** The finaliser of MurmurHash3: every input bit affects every output bit. */
function scramble(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
