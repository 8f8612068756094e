import { describe, expect, it } from 'vitest';
import { countProblem, namedNumber, namedNumbers, wholeNumber } from './number-options.js';

describe('wholeNumber', () => {
  it.each([
    ['1', 1],
    ['10', 10],
  ])('reads %s within its limits', (text, value) => {
    expect(wholeNumber(1, 10)(text)).toBe(value);
  });

  it.each(['', ' ', '0', '11', '1.5', '2x', 'NaN', '0x5', '1e1', ' 5', '+5', '5.0', '1,0'])(
    'refuses "%s" and names the limits',
    (text) => {
      expect(() => wholeNumber(1, 10)(text)).toThrow('Give a whole number from 1 to 10.');
    },
  );
});

describe('namedNumbers', () => {
  it('collects the numbers of repeated options by name', () => {
    expect(namedNumbers('a=1,-2.5', namedNumbers('b=3'))).toEqual({ a: [1, -2.5], b: [3] });
  });

  it.each(['', 'a', 'a=', '=1', 'a=x', 'a=1,', 'a=1=2', 'a=Infinity', 'a=0x1', 'a=1e999', 'a= 1', 'a=1_0'])(
    'refuses "%s"',
    (text) => {
      expect(() => namedNumbers(text)).toThrow('Give NAME=NUMBER');
    },
  );
});

describe('namedNumber', () => {
  it('collects one number for each name', () => {
    expect(namedNumber('a=1', namedNumber('b=-3.5'))).toEqual({ a: 1, b: -3.5 });
  });

  it.each(['', 'a', 'a=', '=1', 'a=x', 'a=0,5', 'a=1=2', 'a=0x1', 'a=NaN'])('refuses "%s"', (text) => {
    expect(() => namedNumber(text)).toThrow('Give NAME=NUMBER, with a decimal point: 0.5.');
  });
});

it('refuses a name that is given twice', () => {
  expect(() => namedNumber('a=1', { a: 2 })).toThrow('a is given twice; leave one out.');
  expect(() => namedNumbers('a=1', { a: [2] })).toThrow('a is given twice; leave one out.');
});

it('finds a feature that has not one number for each item, as with a decimal comma', () => {
  expect(countProblem(namedNumbers('watch_ratio=0,5'), 1)).toBe(
    '--feature watch_ratio: has 2 numbers for 1 item; give one for each item, with a decimal point',
  );
  expect(countProblem({ a: [1, 2], b: [1] }, 2)).toMatch(/^--feature b: has 1 number for 2 items/);
  expect(countProblem({ a: [1, 2] }, 2)).toBeUndefined();
});
