// A small part of `npm run fuzz`, with a new seed in every run.
import { expect, it } from 'vitest';
import { runFuzz, SURFACE_NAMES } from './run-fuzz.js';

const COUNT = 1_000;
/** Those of a second stack, with a bundle that encodes with history, are left to `npm run fuzz`. */
const SURFACES = SURFACE_NAMES.filter((name) => !name.endsWith('-with-history'));
const SEED = Date.now() % 2 ** 31;

it(`refuses or takes ${COUNT} malformed inputs, answers the valid ones between them, and keeps no more memory; seed ${SEED}`, async () => {
  const { faults, surfaces, inputs } = await runFuzz({ seed: SEED, count: COUNT, surfaces: SURFACES });
  expect(faults).toEqual([]);
  expect(surfaces).toHaveLength(SURFACES.length);
  expect(inputs).toBeGreaterThan(0.9 * COUNT);
}, 900_000);
