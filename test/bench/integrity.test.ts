import { expect, it } from 'vitest';
import { requireEqual } from './integrity.js';

const scores = Float32Array.of(0.1, 0.5, 0.9);

it('accepts equal scores', () => {
  expect(() => requireEqual('arms', scores, Float32Array.of(0.10005, 0.5, 0.9), 1e-4)).not.toThrow();
});

it.each([
  ['a different score', Float32Array.of(0.1, 0.75, 0.9), 'arms differ by 0.25'],
  ['fewer scores', Float32Array.of(0.1, 0.5), 'arms differ by NaN'],
  ['more scores', Float32Array.of(0.1, 0.5, 0.9, 0.9), 'in 3 scores'],
  ['a score that is not a number', Float32Array.of(0.1, Number.NaN, 0.9), 'arms differ by NaN'],
])('refuses %s', (_, other, message) => {
  expect(() => requireEqual('arms', scores, other, 1e-4)).toThrow(message);
});

it('refuses scores that are all equal, because they would agree in any case', () => {
  const same = new Float32Array(3).fill(0.5);
  expect(() => requireEqual('arms', same, same, 1e-4)).toThrow('prove nothing');
});
