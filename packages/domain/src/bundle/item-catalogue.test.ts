import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createItemCatalogue } from './item-catalogue.js';

const catalogueOf = (...itemIds: string[]) => createItemCatalogue(itemIds, itemIds.length);
/** The id's bytes between other bytes, as in a message. */
const between = (id: string) => {
  const bytes = Buffer.from(`\x12${id}\x12`);
  return [bytes, 1, bytes.length - 1] as const;
};

const id = fc.oneof(
  fc.string({ maxLength: 3 }),
  fc.string({ maxLength: 3, unit: 'binary' }),
  fc.constantFrom('\ufffd', 'é', 'e\u0301', '\u{1f600}', 'x'.repeat(300)),
);

describe('a catalogue', () => {
  it('finds the same indices as a Map, by string and by bytes', () => {
    fc.assert(
      fc.property(fc.uniqueArray(id.filter(Boolean), { maxLength: 60 }), fc.array(id), (ids, others) => {
        const items = catalogueOf('', ...ids);
        const indices = new Map(ids.map((one, i) => [one, i + 1]));
        for (const one of ['', ...ids, ...others]) {
          const index = indices.get(one) ?? 0;
          expect(items.indexOf(one)).toBe(index);
          expect(items.indexOfBytes(...between(one))).toBe(index);
        }
        expect(Array.from({ length: items.count }, (_, i) => items.idAt(i))).toEqual(['', ...ids]);
      }),
    );
  });

  it('finds each of 100,000 items and no other id', () => {
    const ids = Array.from({ length: 100_000 }, (_, i) => (i === 0 ? '' : `i${i}`));
    const items = createItemCatalogue(ids, ids.length);
    expect(ids.map((one) => items.indexOfBytes(...between(one)))).toEqual(ids.map((_, i) => i));
    expect(ids.filter((one) => items.indexOf(`${one}0x`) !== 0)).toEqual([]);
  });

  it('tells ids with equal hashes apart', () => {
    const items = catalogueOf('', 'declinate', 'macallums', 'altarages');
    expect(['declinate', 'macallums', 'altarages', 'zinkes'].map(items.indexOf)).toEqual([1, 2, 3, 0]);
    expect(catalogueOf('', 'declinate').indexOf('macallums')).toBe(0);
  });

  it('has an empty id at every index outside the catalogue', () => {
    const items = catalogueOf('', 'a', 'b');
    expect([items.idAt(2), items.idAt(3), items.idAt(4), items.idAt(-1)]).toEqual(['b', '', '', '']);
  });

  it('never finds an id with half a surrogate pair, nor takes its replacement character for it', () => {
    const items = catalogueOf('', '\ud83d', '\ude00', '\ufffd', 'a\ud83d');
    for (const half of ['\ud83d', '\ude00', 'a\ud83d', '\ud83d\ud83d']) expect(items.indexOf(half)).toBe(0);
    expect(items.indexOf('\u{1f600}')).toBe(0);
    expect(items.indexOf('\ufffd')).toBe(3);
    expect(items.indexOfBytes(Buffer.from([0xed, 0xa0, 0xbd]), 0, 3)).toBe(0);
  });

  it.each([
    ['a wrong count', ['', 'a'], 3, 'items: the file has 2 ids, bundle.json says 3'],
    ['a first id that is not empty', ['a', 'b'], 2, 'items: index 0 is the unknown item, its id must be ""'],
    ['no ids', [], 0, 'items: index 0 is the unknown item, its id must be ""'],
    ['a duplicated id', ['', 'a', 'é', 'b', 'é'], 5, 'items: an id is duplicated'],
    ['a second empty id', ['', 'a', ''], 3, 'items: an id is duplicated'],
  ])('is refused with %s', (_, ids, count, message) => {
    expect(() => createItemCatalogue(ids, count)).toThrow(
      expect.objectContaining({ reason: 'bundle_invalid', message }),
    );
  });
});
