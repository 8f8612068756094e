import { expect, it } from 'vitest';
import { percent, shareBp } from './share-option.js';

it.each([
  ['5%', 500],
  ['0.01%', 1],
  ['0.29%', 29],
  ['12.5%', 1_250],
  ['100%', 10_000],
])('reads %s, and prints it again', (text, wanted) => {
  expect(shareBp(text)).toBe(wanted);
  expect(percent(wanted)).toBe(text);
});

it.each(['5', '0%', '0.001%', '101%', '-5%', '5 %', '5,5%', '%', 'all', ''])('refuses "%s"', (text) => {
  expect(() => shareBp(text)).toThrow('Give a percentage from 0.01% to 100%');
});
