import { describe, expect, it } from 'vitest';
import { usageDrift, usageFigures } from './usage-figures.js';

/** Returns numbers below 1 that look random, always the same ones: the generator mulberry32. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws positions from shares that fall as 1 / (slot + 1), in a given order of the slots. */
function draw(count: number, slots: number, random: () => number, slotAt = (rank: number) => rank): Uint32Array {
  const ends: number[] = [];
  for (let rank = 0; rank < slots; rank++) ends.push((ends.at(-1) ?? 0) + 1 / (rank + 1));
  const total = ends.at(-1) ?? 0;
  const counts = new Uint32Array(slots);
  for (let i = 0; i < count; i++) {
    const at = random() * total;
    const slot = slotAt(ends.findIndex((end) => at < end));
    counts[slot] = (counts[slot] ?? 0) + 1;
  }
  return counts;
}

describe('usageFigures', () => {
  it('of evenly used slots has their number as perplexity', () => {
    const figures = usageFigures(Uint32Array.of(5, 0, 5, 5, 5));
    expect(figures).toMatchObject({ positionCount: 20, slotCount: 5, usedCount: 4, unusedCount: 1, entropyBits: 2 });
    expect(figures.perplexity).toBeCloseTo(4);
  });

  it('of one used slot has no entropy, and of no position no perplexity', () => {
    expect(usageFigures(Uint32Array.of(0, 7))).toMatchObject({ entropyBits: 0, perplexity: 1, unusedCount: 1 });
    expect(usageFigures(Uint32Array.of(0, 0))).toMatchObject({ entropyBits: 0, perplexity: 0, usedCount: 0 });
  });
});

describe('usageDrift', () => {
  it.each([
    [500, 20_000, 50],
    [3_000, 3_000, 400],
    [20_000, 2_000, 2_000], // most slots have fewer than one position
  ])(
    'of %i positions from the distribution of %i trained ones on %i slots is about the noise',
    (fresh, past, slots) => {
      const random = randomNumbers(7);
      const drifts = Array.from({ length: 20 }, () => {
        const drift = usageDrift(draw(fresh, slots, random), draw(past, slots, random));
        if (!drift) throw new Error('no drift');
        return drift;
      });
      const mean = (figure: 'distance' | 'noise') =>
        drifts.reduce((sum, drift) => sum + drift[figure], 0) / drifts.length;
      expect(mean('distance') / mean('noise')).toBeGreaterThan(0.95);
      expect(mean('distance') / mean('noise')).toBeLessThan(1.05);
      expect(drifts.every(({ distance, bound }) => distance < bound)).toBe(true);
    },
  );

  it('is above the bound if the slots change their places', () => {
    const random = randomNumbers(8);
    const drift = usageDrift(
      draw(2_000, 100, random, (rank) => (rank + 10) % 100),
      draw(5_000, 100, random),
    );
    expect(drift?.distance).toBeGreaterThan(drift?.bound ?? 1);
  });

  it('is 1 if no slot is used in both, and 0 for equal shares', () => {
    expect(usageDrift(Uint32Array.of(9, 0), Uint32Array.of(0, 9))?.distance).toBe(1);
    expect(usageDrift(Uint32Array.of(9, 3), Uint32Array.of(3, 1))?.distance).toBe(0);
  });

  it('expects the unused slots that the distribution of training gives', () => {
    const drift = usageDrift(Uint32Array.of(2, 0, 0, 0), Uint32Array.of(1, 1, 1, 1));
    expect(drift?.expectedUnusedCount).toBeCloseTo(4 * 0.75 ** 2);
  });

  it('is undefined without positions', () => {
    expect(usageDrift(Uint32Array.of(0, 0), Uint32Array.of(1, 0))).toBeUndefined();
    expect(usageDrift(Uint32Array.of(1, 0), Uint32Array.of(0, 0))).toBeUndefined();
  });
});
