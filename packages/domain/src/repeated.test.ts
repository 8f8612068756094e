import { expect, it } from 'vitest';
import { repeated } from './repeated.js';

it('returns one entry for each repetition, in order', () => {
  expect(repeated(['a', 'b', 'b', '', 'a', 'b', '__proto__'])).toEqual(['b', 'a', 'b']);
});

it('takes no longer for each text of a long list', () => {
  const texts = Array.from({ length: 500_000 }, (_, i) => String(i));
  expect(repeated([...texts, '7'])).toEqual(['7']);
});
