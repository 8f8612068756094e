import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type PackedIds, packIds, readIds, writeIds } from './packed-ids.js';

const strings = (ids: PackedIds) => Array.from({ length: ids.length }, (_, i) => ids.at(i));
const read = (text: Buffer, lengths: Buffer) => readIds({ text, lengths }, 'lengths');
const id = fc.string({ maxLength: 20, unit: fc.constantFrom('a', 'é', '\u{1f600}', '\0') });

it('reads the ids that were written', () => {
  fc.assert(
    fc.property(fc.array(id, { maxLength: 12 }), (ids) => {
      const { text, lengths } = writeIds(packIds(ids, 'ids'));
      expect(strings(read(text, lengths))).toEqual(ids);
    }),
  );
});

it('refuses half of a surrogate pair, though the next id completes it', () => {
  expect(() => packIds(['b', 'a\ud83d', '\ude00b'], 'ids')).toThrow(/^ids\[1\]: has half of a surrogate pair/);
});

it('reads a column without copying its ids, wherever the fields begin', () => {
  const message = Buffer.from('..abc...\x02\0\0\0\x01\0\0\0', 'latin1');
  for (const from of [2, 3]) {
    const ids = read(
      message.subarray(from, 5),
      Buffer.concat([Buffer.of(0), Buffer.of(5 - from, 0, 0, 0)]).subarray(1),
    );
    expect(strings(ids)).toEqual([message.toString('latin1', from, 5)]);
    expect(ids.bytes.buffer).toBe(message.buffer);
  }
  expect(strings(read(message.subarray(2, 5), message.subarray(8)))).toEqual(['ab', 'c']);
});

it.each([
  ['a part of a length', 'abc', [3, 0, 0, 0, 0, 0], 'lengths: has 6 bytes, not a multiple of 4; send packed uint32'],
  ['too short a text', 'ab', [3, 0, 0, 0], 'lengths: adds up to 3 bytes, the ids have 2'],
  ['too long a text', 'abcd', [3, 0, 0, 0], 'lengths: adds up to 3 bytes, the ids have 4'],
  ['lengths beyond 32 bits', 'ab', [255, 255, 255, 255, 3, 0, 0, 0], 'lengths: adds up to 4294967298 bytes'],
])('refuses %s', (_, text, lengths, message) => {
  expect(() => read(Buffer.from(text), Buffer.from(lengths))).toThrow(message);
});
