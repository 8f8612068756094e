import { expect, it } from 'vitest';
import { readPartitionCount } from './partition-count.js';

it.each([
  [undefined, 16],
  ['', 16],
  ['1', 1],
  ['1024', 1_024],
])('reads CKV_PARTITIONS of %j as %i partitions', (text, count) => {
  expect(readPartitionCount({ CKV_PARTITIONS: text })).toBe(count);
});

it.each(['0', '1.5', '-1', 'many', '1025'])('refuses CKV_PARTITIONS of %j', (text) => {
  expect(() => readPartitionCount({ CKV_PARTITIONS: text })).toThrow(
    `CKV_PARTITIONS: "${text}" is not a whole number from 1 to 1024; set it to the updater's value`,
  );
});
