import { expect, it } from 'vitest';
import { counted } from './counted.js';

it('uses the plural for every count but one', () => {
  expect([0, 1, 2].map((count) => counted(count, 'row'))).toEqual(['0 rows', '1 row', '2 rows']);
  expect([1, 11].map((count) => counted(count, 'entry', 'entries'))).toEqual(['1 entry', '11 entries']);
});
