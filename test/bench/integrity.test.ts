import { expect, it } from 'vitest';
import { requireEqual } from './integrity.js';

const scores = Float32Array.of(0.1, 0.5, 0.9);

it('lets equal scores be timed', () => {
  expect(() => requireEqual('arms', scores, Float32Array.of(0.10005, 0.5, 0.9), 1e-4)).not.toThrow();
});

it.each([
  ['one that differs', Float32Array.of(0.1, 0.75, 0.9), 'arms differ by 0.25'],
  ['fewer', Float32Array.of(0.1, 0.5), 'arms differ by NaN'],
  ['more', Float32Array.of(0.1, 0.5, 0.9, 0.9), 'in 3 scores'],
  ['no number', Float32Array.of(0.1, Number.NaN, 0.9), 'arms differ by NaN'],
])('refuses %s', (_, other, message) => {
  expect(() => requireEqual('arms', scores, other, 1e-4)).toThrow(message);
});

it('refuses scores that are all alike: they would agree whatever the arms did', () => {
  const same = new Float32Array(3).fill(0.5);
  expect(() => requireEqual('arms', same, same, 1e-4)).toThrow('say nothing');
});
