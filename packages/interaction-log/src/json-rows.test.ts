import fc from 'fast-check';
import { expect, it } from 'vitest';
import { anyMembers, flatMembers } from './json-rows.js';

const spaced = (value: unknown) => JSON.stringify(value).replace(/([:,])/g, '$1 ');

it('reads flat objects as the parser of all objects does', () => {
  const cell = fc.oneof(
    fc.string(),
    fc.string({ unit: 'grapheme' }),
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
  );
  const value = fc.oneof({ weight: 9, arbitrary: cell }, fc.array(cell), fc.object());
  const line = fc
    .dictionary(fc.string(), value, { noNullPrototype: true })
    .chain((row) =>
      fc.constantFrom(JSON.stringify(row), ` ${JSON.stringify(row)}`, spaced(row), JSON.stringify(row).slice(0, -1)),
    );
  let flatCount = 0;
  fc.assert(
    fc.property(line, (text) => {
      const flat = flatMembers(text);
      if (flat === undefined) return;
      flatCount++;
      const { names, cells } = anyMembers(text, 1, () => undefined) ?? { names: [], cells: [] };
      expect(flat).toEqual({ names, cells });
    }),
    { numRuns: 2_000 },
  );
  expect(flatCount).toBeGreaterThan(100);
});

it.each([
  '{"a":1,"a":2}',
  '{"a":"\\n"}',
  '{"a":{}}',
  '{"a":01}',
  '{"a":1,}',
  '{"a":1}x',
  '[1]',
  '{"a" 1}',
  '{"a":NaN}',
])('leaves %s to the parser of all objects', (text) => expect(flatMembers(text)).toBeUndefined());

it('leaves an object of more than a thousand members to the parser of all objects', () => {
  const objectOf = (count: number) => `{${Array.from({ length: count }, (_, i) => `"m${i}":1`).join()}}`;
  expect(flatMembers(objectOf(1_000))?.names).toHaveLength(1_000);
  expect(flatMembers(objectOf(1_001))).toBeUndefined();
});
