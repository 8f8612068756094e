/** How positions use the slots of a route field. */
export interface UsageFigures {
  /** Positions that were counted. */
  readonly positionCount: number;
  readonly slotCount: number;
  /** Slots that a position uses. */
  readonly usedCount: number;
  /** Slots without a position. In a factored pool: items without recent interactions. */
  readonly unusedCount: number;
  /** Entropy of the slot of a position, bits. 0 if all positions use one slot. */
  readonly entropyBits: number;
  /** Number of evenly used slots with the same entropy: 2^entropy. */
  readonly perplexity: number;
}

/** How much the use of slots differs from that in training. */
export interface UsageDrift {
  /** Positions that training counted. */
  readonly trainedCount: number;
  /** Slots that would be unused if positions were drawn from the distribution of training. */
  readonly expectedUnusedCount: number;
  /**
   * Total variation, 0 to 1: the share of positions that would have to use another slot for both distributions to be
   * equal.
   */
  readonly distance: number;
  /** Mean distance of as many positions that are drawn from one distribution: the part that chance explains. */
  readonly noise: number;
  /** Distance that chance exceeds once in a thousand times, if positions are independent. */
  readonly bound: number;
}

/** How rarely chance may exceed {@link UsageDrift.bound}. */
const EXCEEDED_BY_CHANCE = 0.001;

/** Returns the figures of counts by slot. */
export function usageFigures(counts: Uint32Array): UsageFigures {
  const positionCount = sumOf(counts);
  let usedCount = 0;
  let entropyBits = 0;
  for (const count of counts) {
    if (count === 0) continue;
    usedCount++;
    const share = count / positionCount;
    entropyBits -= share * Math.log2(share);
  }
  return {
    positionCount,
    slotCount: counts.length,
    usedCount,
    unusedCount: counts.length - usedCount,
    entropyBits,
    perplexity: positionCount === 0 ? 0 : 2 ** entropyBits,
  };
}

/**
 * Compares counts by slot with those of training. Both have the same slots.
 * @returns undefined if one of them has no position
 */
export function usageDrift(counts: Uint32Array, trained: Uint32Array): UsageDrift | undefined {
  const [fresh, past] = [sumOf(counts), sumOf(trained)];
  if (fresh === 0 || past === 0) return undefined;
  // The two samples vary as one of this size: 1 / samples = 1 / fresh + 1 / past.
  const samples = (fresh * past) / (fresh + past);
  const deviationOf = createDeviation(fresh / (fresh + past));
  let distance = 0;
  let deviation = 0;
  let expectedUnusedCount = 0;
  for (let slot = 0; slot < counts.length; slot++) {
    const [now, then] = [counts[slot] as number, trained[slot] as number];
    distance += Math.abs(now / fresh - then / past);
    deviation += deviationOf(now + then);
    expectedUnusedCount += (1 - then / past) ** fresh;
  }
  const noise = deviation / samples / 2;
  // McDiarmid's inequality: one position of a sample of n moves the distance by 1 / n at most.
  const margin = Math.sqrt(-Math.log(EXCEEDED_BY_CHANCE) / (2 * samples));
  return {
    trainedCount: past,
    expectedUnusedCount,
    distance: distance / 2,
    noise,
    bound: Math.min(1, noise + margin),
  };
}

/** Above this count a binomial distribution is taken for a normal one. */
const MAX_EXACT = 1_000;

/**
 * Suppose that each position fell into the first of two samples with this chance. Returns a function from the count of
 * a slot in both to the mean absolute deviation of its part in the first: de Moivre's formula.
 */
function createDeviation(chance: number): (count: number) => number {
  const known = new Map<number, number>();
  const logFactorial = [0];
  for (let n = 1; n <= MAX_EXACT; n++) logFactorial.push((logFactorial[n - 1] as number) + Math.log(n));
  const logOf = (n: number) => logFactorial[n] as number;

  function exact(count: number): number {
    const above = Math.floor(count * chance) + 1;
    if (above > count) return 0; // all positions are in the first sample
    const logChoices = logOf(count) - logOf(above) - logOf(count - above);
    const logWeight = above * Math.log(chance) + (count - above + 1) * Math.log1p(-chance);
    return 2 * above * Math.exp(logChoices + logWeight);
  }

  return (count) => {
    if (count === 0) return 0;
    if (count > MAX_EXACT) return Math.sqrt((2 * count * chance * (1 - chance)) / Math.PI);
    const before = known.get(count);
    if (before !== undefined) return before;
    const deviation = exact(count);
    known.set(count, deviation);
    return deviation;
  };
}

function sumOf(counts: Uint32Array): number {
  let sum = 0;
  for (const count of counts) sum += count;
  return sum;
}
