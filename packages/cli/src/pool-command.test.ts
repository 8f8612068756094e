import { expect, it } from 'vitest';
import { healthText } from './pool-command.js';

const recent = {
  positionCount: 1_000,
  usedCount: 3,
  entropyBits: 1.25,
  perplexity: 2.378,
  rankShares: [0.5, 0.25, 0.25],
};
const field = { field: 'item', slotCount: 8, recent, trained: null, drift: null, runs: null };
const health = { bundleId: 'b', encodingId: 'e', windowS: 60 };

it('prints the figures of a field, with a histogram by rank', () => {
  const text = healthText({ ...health, fields: [field] });
  expect(text).toContain('bundle b, encoding e; recent positions: of the last 60 to 120 s');
  expect(text).toMatch(/unused +5\n/);
  expect(text).toMatch(/perplexity +2.38/);
  expect(text).toMatch(/drift +not known: the bundle has no counts of its training/);
  expect(text).toMatch(/slot 1 +50.0 % +#{20}\n +slot 2 +25.0 % +#{10}\n +slots 3 to 4 +25.0 %/);
});

it.each([
  [0.3, 'more than chance'],
  [0.1, 'no more than chance'],
])('compares a drift of %f with chance', (distance, verdict) => {
  const trained = {
    positionCount: 500,
    usedCount: 8,
    entropyBits: 3,
    perplexity: 8,
    rankShares: [0.125, 0.125, 0.25, 0.5],
  };
  const drift = { distance, noise: 0.05, bound: 0.2, expectedUnusedCount: 0.4 };
  const text = healthText({ ...health, fields: [{ ...field, trained, drift }] });
  expect(text).toContain(`${distance} of 1: ${verdict} (chance alone: 0.05, rarely above 0.2)`);
  expect(text).toMatch(/slots 5 to 8 +0.0 % +training +50.0 %/);
});

it('says that there are no recent positions', () => {
  const none = { positionCount: 0, usedCount: 0, entropyBits: 0, perplexity: 0, rankShares: [] };
  const text = healthText({ ...health, fields: [{ ...field, recent: none, trained: recent }] });
  expect(text).toMatch(/drift +not known: no recent positions/);
});
