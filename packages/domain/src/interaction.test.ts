import { expect, it } from 'vitest';
import { parseInteraction } from './interaction.js';

const good = {
  eventId: 'e',
  userId: 'u',
  itemId: 'i',
  timestampMs: 1,
  action: 'click',
  features: { watch_ratio: 0.5 },
};

it('reads an interaction and ignores unknown keys', () => {
  expect(parseInteraction({ ...good, more: true }, 'x')).toEqual(good);
  expect(parseInteraction({ ...good, action: undefined, features: undefined }, 'x')).toMatchObject({
    action: '',
    features: {},
  });
});

it.each([
  ['nothing', undefined, /^x: is missing/],
  ['an array', [], /^x: is an array/],
  ['a missing user', { ...good, userId: undefined }, /^x\.userId: is missing.*string/],
  ['an empty item', { ...good, itemId: '' }, /^x\.itemId: .*1 to 256 bytes/],
  ['a long event id', { ...good, eventId: 'é'.repeat(65) }, /^x\.eventId: has 130 bytes, at most 128/],
  ['a numeric user', { ...good, userId: 7 }, /^x\.userId: is a number/],
  ['a fractional time', { ...good, timestampMs: 1.5 }, /^x\.timestampMs: is 1\.5/],
  ['a time before 1970', { ...good, timestampMs: -5 }, /^x\.timestampMs: is -5/],
  ['a NaN feature', { ...good, features: { watch_ratio: Number.NaN } }, /^x\.features\.watch_ratio: is NaN/],
  ['a text feature', { ...good, features: { watch_ratio: 'a' } }, /^x\.features\.watch_ratio: is a string/],
  ['an array of features', { ...good, features: [1] }, /^x\.features: is an array/],
])('refuses %s and names the field', (_, value, message) => {
  expect(() => parseInteraction(value, 'x')).toThrow(message);
});
