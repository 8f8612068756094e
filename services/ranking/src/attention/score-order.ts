const DIGIT_BITS = 8;
const DIGITS = 1 << DIGIT_BITS;
const PASSES = 32 / DIGIT_BITS;

/**
 * Returns the indices of the scores from best to worst. Equal scores keep their order.
 * @param topK how many indices to return; 0 returns all
 */
export function orderOf(scores: Float32Array, topK: number): Uint32Array {
  const order = sortedIndices(fallingRanks(scores));
  return topK > 0 ? order.slice(0, topK) : order;
}

/** Returns numbers that fall as the scores rise. 0 and -0 give the same number. */
function fallingRanks(scores: Float32Array): Uint32Array {
  const bits = new Int32Array(scores.buffer, scores.byteOffset, scores.length);
  const ranks = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const one = bits[i] as number;
    // A float's magnitude rises with its bits. Negative floats fall with them.
    ranks[i] = 2 ** 31 - (one >= 0 ? one : -(one & 0x7fffffff));
  }
  return ranks;
}

/** Returns the indices of the keys, smallest key first. A radix sort: it keeps the order of equal keys. */
function sortedIndices(keys: Uint32Array): Uint32Array {
  const places = new Uint32Array(PASSES * DIGITS); // of each pass's digits: how often they occur, then the next place
  for (let i = 0; i < keys.length; i++) {
    let rest = keys[i] as number;
    for (let pass = 0; pass < PASSES; pass++, rest >>>= DIGIT_BITS) {
      const digit = pass * DIGITS + (rest & (DIGITS - 1));
      places[digit] = (places[digit] as number) + 1;
    }
  }
  let from = new Uint32Array(keys.length);
  let to = new Uint32Array(keys.length);
  for (let i = 0; i < from.length; i++) from[i] = i;
  for (let pass = 0; pass < PASSES; pass++) {
    const first = pass * DIGITS;
    for (let digit = first, place = 0; digit < first + DIGITS; digit++) {
      const count = places[digit] as number;
      places[digit] = place;
      place += count;
    }
    for (let i = 0; i < from.length; i++) {
      const index = from[i] as number;
      const digit = first + (((keys[index] as number) >>> (pass * DIGIT_BITS)) & (DIGITS - 1));
      const place = places[digit] as number;
      to[place] = index;
      places[digit] = place + 1;
    }
    [from, to] = [to, from];
  }
  return from;
}
