import { expect, it } from 'vitest';
import { integers } from './tensor.js';

it.each(['int32', 'int64'] as const)('an integer tensor of %s holds every 32-bit integer', (type) => {
  const values = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)];
  expect([...integers(type, values, [5]).data].map(Number)).toEqual(values);
});
