import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { SABOTAGES } from './sabotages.js';
import { SCENARIOS } from './scenarios.js';

it.each(SABOTAGES)('finds the protection "$name" once in its file', ({ file, from, to }) => {
  expect(readFileSync(file, 'utf8').split(from)).toHaveLength(2);
  expect(to).not.toBe(from);
});

it.each(SABOTAGES)('names the faults that show the missing protection "$name"', ({ fault }) => {
  expect(fault).not.toBe(''); // every problem would be one of theirs
});

it('names a scenario for each protection', () => {
  const names = SCENARIOS.map(({ name }) => name);
  expect(SABOTAGES.map(({ scenario }) => scenario).filter((name) => !names.includes(name))).toEqual([]);
  expect(new Set(names).size).toBe(names.length);
});
