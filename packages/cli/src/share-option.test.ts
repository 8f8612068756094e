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

it.each([
  ['0.8', 8_000],
  ['.05', 500],
  ['0.0029', 29],
  ['1.0', 10_000],
])('reads the fraction %s', (text, wanted) => {
  expect(shareBp(text)).toBe(wanted);
});

it.each(['1', '5', '0', '0%', '0.001%', '0.00001', '101%', '-5%', '5 %', '5,5%', 'all', ''])('refuses "%s"', (text) => {
  expect(() => shareBp(text)).toThrow('Give a percentage such as 80%, or a decimal fraction such as 0.8');
});
