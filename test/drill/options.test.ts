import { expect, it } from 'vitest';
import { readOptions } from './options.js';

it('makes another seed for every run, and runs both arms', () => {
  expect(readOptions([])).toMatchObject({ quick: false, arm: undefined, writeBundles: false });
  expect(readOptions([])?.seed).not.toBe(readOptions([])?.seed);
  expect(readOptions(['--seed', 'a', '--arm', 'kills'])).toMatchObject({ seed: 'a', arm: 'kills' });
});

it('refuses an unknown arm and an unknown word', () => {
  expect(() => readOptions(['--arm', 'storm'])).toThrow(/--arm: "storm" is not an arm; give calm or kills/);
  expect(() => readOptions(['quick'])).toThrow(/quick/);
});
