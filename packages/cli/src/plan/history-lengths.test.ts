import { expect, it } from 'vitest';
import { historyLengths, meanOver } from './history-lengths.js';

it('reads one length, or lengths with shares', () => {
  expect(historyLengths('1000')).toEqual([{ positions: 1_000, share: 1 }]);
  const shares = historyLengths('100:60%,1000:.4');
  expect(shares).toEqual([
    { positions: 100, share: 0.6 },
    { positions: 1_000, share: 0.4 },
  ]);
  expect(meanOver(shares, (positions) => positions)).toBeCloseTo(460);
});

it('divides shares whose sum is a little off', () => {
  const thirds = historyLengths('1:0.333,2:0.333,3:0.333');
  expect(thirds.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
});

it.each([
  ['', 'Give one length'],
  ['many', 'Give one length'],
  ['100,200', 'Give one length'],
  ['100:0.5;200:0.5', 'Give one length'],
  ['0', '1 to 1000000'],
  ['1000001', '1 to 1000000'],
  ['100:0.5,200:0.4', 'add up to 90%'],
  ['100:0.5,200:1', 'Give one length'],
  ['100:0,200:1.0', 'add up to 100%'],
  [Array.from({ length: 101 }, () => '1:0.01').join(','), 'at most 100'],
])('refuses %j', (text, message) => {
  expect(() => historyLengths(text)).toThrow(message);
});
