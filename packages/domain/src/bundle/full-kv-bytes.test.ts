import { expect, it } from 'vitest';
import { factoredManifest } from './factored.fixture.js';
import { fullKvBytes } from './full-kv-bytes.js';
import { codebookManifest, fixtureManifest } from './manifest.fixture.js';

const BYTES = 2 * 2 * 4; // keys and values of width 2, float32

it('counts a layer for each pool, and none for a codebook', () => {
  expect(fullKvBytes(fixtureManifest())).toBe(BYTES);
  expect(fullKvBytes(codebookManifest())).toBe(BYTES);
  const stacked = fixtureManifest();
  stacked.groups.push({ ...structuredClone(stacked.groups[0] as (typeof stacked.groups)[0]), name: 'second' });
  expect(fullKvBytes(stacked)).toBe(2 * BYTES);
});

it('counts a layer for each clustering, and none for the rows that it adds up', () => {
  expect(fullKvBytes(factoredManifest())).toBe(BYTES);
  expect(fullKvBytes(factoredManifest({ width: 1 }))).toBe(BYTES);
});
