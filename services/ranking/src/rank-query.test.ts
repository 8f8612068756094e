import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createBundleModel } from '@collectivekv/domain';
import { packIds } from '@collectivekv/rpc';
import { expect, it } from 'vitest';
import { candidatesOf, type FeatureColumn, type RankQuery } from './rank-query.js';

const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));
const manifest = JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8'));
const model = createBundleModel({
  manifestBytes: Buffer.from(JSON.stringify({ ...manifest, maxCandidates: 3 })),
  itemIds: JSON.parse(readFileSync(`${TARGET}/items.json`, 'utf8')).ids,
});

const column = (name: string, ...values: number[]): FeatureColumn => ({ name, values: Float32Array.from(values) });
const queryOf = (candidateIds: string[], overrides: Partial<RankQuery> = {}): RankQuery => ({
  userId: 'u',
  candidateIds: packIds(candidateIds, 'candidate_ids'),
  candidateFeatures: [],
  contextFeatures: [],
  recentInteractions: [],
  maxStalenessMs: 0,
  topK: 0,
  bundleId: '',
  historyPolicy: 'preferred',
  captureId: '',
  explain: false,
  ...overrides,
});

it('finds items by their ids, and counts unknown ones', () => {
  const { itemIndices, unknownCount } = candidatesOf(model, queryOf(['i0002', 'none', 'i0001']));
  expect(unknownCount).toBe(1);
  expect(itemIndices[1]).toBe(0);
  expect(itemIndices[0]).toBeGreaterThan(0);
  expect(itemIndices[0]).not.toBe(itemIndices[2]);
});

it('takes the features that are sent, and the defaults of the others', () => {
  const sent = candidatesOf(
    model,
    queryOf(['i0001', 'i0002'], {
      candidateFeatures: [column('freshness', 0, 1)],
      contextFeatures: [column('hour', 24)],
    }),
  );
  expect(sent).toMatchObject({ columns: { freshness: Float32Array.of(0, 1) }, context: { hour: 24 } });
  const defaults = candidatesOf(model, queryOf(['i0001', 'i0002']));
  expect(defaults).toMatchObject({ columns: { freshness: Float32Array.of(0.5, 0.5) }, context: { hour: 12 } });
});

it.each([
  ['candidate_ids: has 4 ids', { candidateIds: packIds(['a', 'b', 'c', 'd'], 'candidate_ids') }],
  [
    'candidate_features[0].name: is not a feature of the bundle; use one of: freshness',
    { candidateFeatures: [column('hour', 1, 1)] },
  ],
  ['context_features[1].name: hour is sent twice', { contextFeatures: [column('hour', 1), column('hour', 2)] }],
  ['candidate_features[0].values: has 1 value, 2 are required', { candidateFeatures: [column('freshness', 1)] }],
  ['context_features[0].values: has 2 values, 1 are required', { contextFeatures: [column('hour', 1, 2)] }],
  [
    'candidate_features[0].values[1]: freshness is 1.5, 0 to 1 is required',
    { candidateFeatures: [column('freshness', 0, 1.5)] },
  ],
  ['context_features[0].values[0]: hour is -1', { contextFeatures: [column('hour', -1)] }],
  ['context_features[0].values[0]: hour is NaN', { contextFeatures: [column('hour', Number.NaN)] }],
] satisfies [string, Partial<RankQuery>][])('refuses a query if %s', (message, overrides) => {
  expect(() => candidatesOf(model, queryOf(['i0001', 'i0002'], overrides))).toThrow(message);
});
