import fc from 'fast-check';
import { expect, it } from 'vitest';
import { areaUnderCurve, quantile } from './auc.js';

it('is the share of pairs in the right order; ties count half', () => {
  const example = fc.record({ score: fc.integer({ min: 0, max: 5 }), label: fc.constantFrom(0, 1) });
  fc.assert(
    fc.property(fc.array(example, { minLength: 2, maxLength: 30 }), (examples) => {
      const positives = examples.filter(({ label }) => label === 1);
      const negatives = examples.filter(({ label }) => label === 0);
      const pairs = positives.flatMap((p) => negatives.map((n) => (Math.sign(p.score - n.score) + 1) / 2));
      const wanted = pairs.reduce((sum, pair) => sum + pair, 0) / pairs.length;
      if (pairs.length === 0) expect(areaUnderCurve(examples)).toBeNaN();
      else expect(areaUnderCurve(examples)).toBeCloseTo(wanted, 10);
    }),
  );
});

it('takes quantiles without interpolating', () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect([quantile(values, 0.5), quantile(values, 0.99), quantile([], 0.5)]).toEqual([51, 100, 0]);
});
