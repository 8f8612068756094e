import { expect, it } from 'vitest';
import { createRecordKeys } from './record-keys.js';

const keys = createRecordKeys('ckv');
const encodingId = '0123456789abcdef';

it('names the keys of stored records', () => {
  expect(keys.record('u', encodingId)).toBe('ckv:{u}:01234567');
  expect(keys.unreadable('u', encodingId)).toBe('ckv:{u}:01234567:corrupt');
  expect([keys.encodings, keys.bundles]).toEqual(['ckv:encodings', 'ckv:bundles']);
});

it('escapes the characters of a user id that would end the hash tag', () => {
  expect(keys.record('a{b}c%d', encodingId)).toBe('ckv:{a%7bb%7dc%25d}:01234567');
});

it('has a pattern for the records of one encoding, and of all', () => {
  expect(keys.pattern(encodingId)).toBe('ckv:{*}:01234567');
  expect(keys.pattern('')).toBe('ckv:{*}:????????');
});

it('escapes the prefix in a pattern', () => {
  expect(createRecordKeys('a*b?c[d]e\\f').pattern(encodingId)).toBe('a\\*b\\?c\\[d\\]e\\\\f:{*}:01234567');
});
