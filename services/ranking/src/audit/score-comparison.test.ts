import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareScores } from './score-comparison.js';

/** Few distinct scores, so that some are equal. */
const pairs = fc.array(fc.tuple(fc.integer({ min: -3, max: 3 }), fc.integer({ min: -3, max: 3 })), {
  minLength: 1,
  maxLength: 30,
});

it('agrees with counting every pair', () => {
  fc.assert(
    fc.property(pairs, (scores) => {
      let [opposite, count] = [0, 0];
      for (const [i, [a, b]] of scores.entries()) {
        for (const [c, d] of scores.slice(i + 1)) {
          count++;
          if ((a - c) * (b - d) < 0) opposite++;
        }
      }
      const [served, other] = [0, 1].map((side) => Float32Array.from(scores, (pair) => pair[side] ?? 0));
      const { kendallTau, largestDifference } = compareScores(served as Float32Array, other as Float32Array);
      expect(kendallTau).toBeCloseTo(count === 0 ? 1 : 1 - (2 * opposite) / count, 10);
      expect(largestDifference).toBe(Math.max(...scores.map(([a, b]) => Math.abs(a - b))));
    }),
  );
});

describe('the ten best', () => {
  const scores = Float32Array.from({ length: 40 }, (_, i) => i);

  it('are compared as sets', () => {
    const other = scores.slice().fill(100, 0, 4); // four of the worst become the best
    expect(compareScores(scores, other).topOverlap).toBe(0.6);
    expect(
      compareScores(
        scores,
        scores.map((score) => -score),
      ).topOverlap,
    ).toBe(0);
    expect(compareScores(scores, scores).topOverlap).toBe(1);
  });

  it('are all if there are fewer', () => {
    expect(compareScores(scores.slice(0, 3), scores.slice(0, 3).reverse()).topOverlap).toBe(1);
  });
});
