import { expect, it } from 'vitest';
import { createRecordKeys } from './record-keys.js';

const keys = createRecordKeys('ckv');
const bundleId = '0123456789abcdef';

it('names the keys of stored records', () => {
  expect(keys.record('u', bundleId)).toBe('ckv:{u}:01234567');
  expect(keys.quarantine('u', bundleId)).toBe('ckv:{u}:01234567:corrupt');
  expect(keys.bundles).toBe('ckv:bundles');
});

it('escapes the characters of a user id that would end the hash tag', () => {
  expect(keys.record('a{b}c%d', bundleId)).toBe('ckv:{a%7bb%7dc%25d}:01234567');
});

it('has a pattern for the records of one bundle, and of all', () => {
  expect(keys.pattern(bundleId)).toBe('ckv:{*}:01234567');
  expect(keys.pattern('')).toBe('ckv:{*}:????????');
});

it('escapes the prefix in a pattern', () => {
  expect(createRecordKeys('a*b?c[d]e\\f').pattern(bundleId)).toBe('a\\*b\\?c\\[d\\]e\\\\f:{*}:01234567');
});
