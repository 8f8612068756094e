import { expect, it } from 'vitest';
import { parseShare } from './share.js';

it.each([
  ['80%', 0.8],
  ['0.8', 0.8],
  ['.8', 0.8],
  ['12.5%', 0.125],
  ['1.0', 1],
  ['100%', 1],
  ['0', 0],
  ['0%', 0],
])('reads %s', (text, share) => {
  expect(parseShare(text)).toBe(share);
});

it.each(['', '1', '80', '5', '101%', '1.01', '-1%', '-0.1', '5 %', '5,5%', '%', '.', '1e-1', 'all'])(
  'refuses "%s"',
  (text) => {
    expect(parseShare(text)).toBeUndefined();
  },
);
