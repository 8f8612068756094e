import { describe, expect, it } from 'vitest';
import { namedNumber, namedNumbers, wholeNumber } from './number-options.js';

describe('wholeNumber', () => {
  it.each([
    ['1', 1],
    ['10', 10],
  ])('reads %s within its limits', (text, value) => {
    expect(wholeNumber(1, 10)(text)).toBe(value);
  });

  it.each(['', ' ', '0', '11', '1.5', '2x', 'NaN'])('refuses "%s" and names the limits', (text) => {
    expect(() => wholeNumber(1, 10)(text)).toThrow('Give a whole number from 1 to 10.');
  });
});

describe('namedNumbers', () => {
  it('collects the numbers of repeated options by name', () => {
    expect(namedNumbers('a=1,-2.5', namedNumbers('b=3'))).toEqual({ a: [1, -2.5], b: [3] });
  });

  it.each(['', 'a', 'a=', '=1', 'a=x', 'a=1,', 'a=1=2', 'a=Infinity'])('refuses "%s"', (text) => {
    expect(() => namedNumbers(text)).toThrow('Give NAME=NUMBER');
  });
});

describe('namedNumber', () => {
  it('collects one number for each name', () => {
    expect(namedNumber('a=1', namedNumber('b=-3.5'))).toEqual({ a: 1, b: -3.5 });
  });

  it.each(['', 'a', 'a=', '=1', 'a=x', 'a=1,2', 'a=1=2'])('refuses "%s"', (text) => {
    expect(() => namedNumber(text)).toThrow('Give NAME=NUMBER.');
  });
});
