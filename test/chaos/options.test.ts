import { expect, it } from 'vitest';
import { readOptions } from './options.js';

const NAMES = ['one', 'two'];

it('keeps the results of a whole run and of single scenarios, and of no shorter run', () => {
  expect(readOptions([], NAMES)).toMatchObject({ keep: true, only: undefined, quick: false });
  expect(readOptions(['--only', 'two'], NAMES)).toMatchObject({ keep: true, only: ['two'] });
  for (const shorter of [['--quick'], ['--forever'], ['--fault', 'kill'], ['--stop-at', 'lost,stuck']]) {
    expect(readOptions(shorter, NAMES)).toMatchObject({ keep: false });
  }
});

it('makes another seed for every run', () => {
  expect(readOptions([], NAMES)?.seed).not.toBe(readOptions([], NAMES)?.seed);
  expect(readOptions(['--seed', 'a'], NAMES)?.seed).toBe('a');
});

it('refuses an unknown scenario and an unknown word', () => {
  expect(() => readOptions(['--only', 'three'], NAMES)).toThrow(/unknown scenario three/);
  expect(() => readOptions(['--stop-at', 'found'], NAMES)).toThrow(/unknown count found/);
  expect(() => readOptions(['quick'], NAMES)).toThrow(/quick: unknown/);
});
