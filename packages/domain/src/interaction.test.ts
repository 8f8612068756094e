import { describe, expect, it } from 'vitest';
import { LIMITS, loggedField, parseForgotten, parseId, parseInteraction } from './interaction.js';

const good = {
  eventId: 'e',
  userId: 'u',
  itemId: 'i',
  timestampMs: 1_700_000_000_000,
  action: 'click',
  features: { watch_ratio: 0.5 },
};

function featuresOf(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, i]));
}

it('reads an interaction and ignores unknown keys', () => {
  expect(parseInteraction({ ...good, more: true }, 'x')).toEqual(good);
});

it.each([undefined, ''])('takes %j for a missing action', (action) => {
  expect(parseInteraction({ ...good, action }, 'x').action).toBe('');
});

it.each([undefined, null])('takes %j for missing features', (features) => {
  expect(parseInteraction({ ...good, features }, 'x').features).toEqual({});
});

it('accepts every field at its limit', () => {
  const largest = {
    eventId: 'e'.repeat(LIMITS.eventIdBytes),
    userId: 'é'.repeat(LIMITS.idBytes / 2),
    itemId: 'i'.repeat(LIMITS.idBytes),
    timestampMs: LIMITS.timestampMs,
    action: 'a'.repeat(LIMITS.actionBytes),
    features: { ...featuresOf(LIMITS.featureCount - 1), ['f'.repeat(LIMITS.featureNameBytes)]: 1 },
  };
  expect(parseInteraction(largest, 'x')).toEqual(largest);
});

it.each([
  ['nothing', undefined, /^x: is missing, not an interaction; send an object$/],
  ['null', null, /^x: is null/],
  ['a string', 'x', /^x: is a string/],
  ['an array', [], /^x: is an array/],
  ['a missing event', { ...good, eventId: undefined }, /^x\.eventId: is missing, not a string; send a string$/],
  ['a missing user', { ...good, userId: undefined }, /^x\.userId: is missing.*string/],
  ['an empty item', { ...good, itemId: '' }, /^x\.itemId: .*1 to 256 bytes/],
  ['a long event id', { ...good, eventId: 'é'.repeat(65) }, /^x\.eventId: has 130 bytes, at most 128/],
  ['a numeric user', { ...good, userId: 7 }, /^x\.userId: is a number/],
  [
    'a time of 0',
    { ...good, timestampMs: 0 },
    /^x\.timestampMs: is 0, an integer from 100000000000 to 281474976710655/,
  ],
  [
    'a time in seconds',
    { ...good, timestampMs: 1_700_000_000 },
    /^x\.timestampMs: is 1700000000, .* looks like seconds/,
  ],
  ['half a surrogate pair', { ...good, userId: 'u\ud83d' }, /^x\.userId: has half of a surrogate pair/],
  ['half a pair in a feature name', { ...good, features: { '\udc00': 1 } }, /^x\.features \(a name\): has half/],
  ['a time beyond 48 bits', { ...good, timestampMs: 2 ** 48 }, /^x\.timestampMs: is 281474976710656/],
  ['a text time', { ...good, timestampMs: '1' }, /^x\.timestampMs: is a string/],
  ['a long action', { ...good, action: 'a'.repeat(65) }, /^x\.action: has 65 bytes, at most 64/],
  ['a numeric action', { ...good, action: 7 }, /^x\.action: is a number/],
  ['a fractional time', { ...good, timestampMs: 1.5 }, /^x\.timestampMs: is 1\.5/],
  ['a time before 1970', { ...good, timestampMs: -5 }, /^x\.timestampMs: is -5/],
  ['a NaN feature', { ...good, features: { watch_ratio: Number.NaN } }, /^x\.features\.watch_ratio: is NaN/],
  ['a text feature', { ...good, features: { watch_ratio: 'a' } }, /^x\.features\.watch_ratio: is a string/],
  ['features in a string', { ...good, features: 'a' }, /^x\.features: is a string, not an object of numbers/],
  ['65 features', { ...good, features: featuresOf(65) }, /^x\.features: has 65 entries, at most 64 are allowed/],
  ['a long feature name', { ...good, features: { ['f'.repeat(65)]: 1 } }, /^x\.features \(a name\): has 65 bytes/],
  ['an array of features', { ...good, features: [1] }, /^x\.features: is an array/],
])('refuses %s and names the field', (_, value, message) => {
  const [field] = message.source.slice(1).split(': ');
  expect(() => parseInteraction(value, 'x')).toThrow(
    expect.objectContaining({
      reason: 'invalid_request',
      field: field?.replaceAll('\\', ''),
      message: expect.stringMatching(message),
    }),
  );
});

describe('parseForgotten', () => {
  it('needs no item and no time', () => {
    const forgotten = {
      eventId: 'e',
      userId: 'u',
      itemId: '',
      timestampMs: LIMITS.minTimestampMs,
      action: '',
      features: {},
    };
    expect(parseForgotten({ eventId: 'e', userId: 'u' }, 'x')).toEqual(forgotten);
    expect(parseForgotten({ eventId: 'e', userId: 'u', itemId: '', timestampMs: 0 }, 'x')).toEqual(forgotten);
  });

  it('keeps what it is given', () => {
    expect(parseForgotten({ ...good, timestampMs: 1_600_000_000_000 }, 'x')).toEqual({
      ...good,
      timestampMs: 1_600_000_000_000,
    });
  });

  it.each([
    ['nothing', undefined, 'x.eventId'],
    ['null', null, 'x.eventId'],
    ['a string', 'x', 'x.eventId'],
    ['a missing user', { eventId: 'e' }, 'x.userId'],
    ['a bad time', { ...good, timestampMs: 1.5 }, 'x.timestampMs'],
    ['a long item', { ...good, itemId: 'i'.repeat(257) }, 'x.itemId'],
  ])('refuses %s and names the field', (_, value, field) => {
    expect(() => parseForgotten(value, 'x')).toThrow(expect.objectContaining({ reason: 'invalid_request', field }));
  });
});

describe('parseId', () => {
  it('accepts 1 to its limit of bytes and refuses one more', () => {
    expect([parseId('a', 'f', 4), parseId('éé', 'f', 4)]).toEqual(['a', 'éé']);
    expect(() => parseId('ééa', 'f', 4)).toThrow('f: has 5 bytes, at most 4 are allowed; send a shorter one');
    expect(() => parseId('', 'f', 4)).toThrow('f: is missing or empty, 1 to 4 bytes are required; set it');
  });
});

it.each([
  ['interactions[3].features.of user ada', 'interactions[3].features.*'],
  ['requests[1].recent_interactions[0].features.a\nb.features.c', 'requests[1].recent_interactions[0].features.*'],
  ['data.interaction.features', 'data.interaction.features'],
  ['candidate_ids[7]', 'candidate_ids[7]'],
  [undefined, undefined],
])('logs the field %j as %j', (field, logged) => {
  expect(loggedField(field)).toBe(logged);
});
