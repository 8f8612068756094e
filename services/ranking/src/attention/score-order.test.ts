import fc from 'fast-check';
import { expect, it } from 'vitest';
import { orderOf } from './score-order.js';

const scores = fc.array(fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, -0, 1, -1)), { maxLength: 200 });

it('orders scores from best to worst, and keeps the order of equal ones', () => {
  fc.assert(
    fc.property(scores, fc.nat(210), (values, topK) => {
      const given = Float32Array.from(values);
      const compared = [...given.keys()].sort((a, b) => {
        const [x, y] = [given[a] ?? 0, given[b] ?? 0];
        return x === y ? a - b : y > x ? 1 : -1; // the difference of two infinities is NaN
      });
      expect([...orderOf(given, topK)]).toEqual(topK > 0 ? compared.slice(0, topK) : compared);
    }),
  );
});
