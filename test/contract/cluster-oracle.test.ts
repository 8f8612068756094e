// Compares encode -> record rows -> cluster means -> attend with the naive oracle, on both rank graphs of a bundle with a
// clustering.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle, loadBundle, openBundle, readServedGolden } from '@collectivekv/bundles';
import {
  assembleRank,
  assembleRankKv,
  type GatheredRows,
  type Interaction,
  integers,
  slotHistogram,
} from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { clusterOracleScores, readParameters } from './naive-oracle.js';

const FACTORED = fileURLToPath(new URL('../fixtures/bundles/factored', import.meta.url));

let engine: Engine;
let bundle: LoadedBundle;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  bundle = await loadBundle(FACTORED, engine, {
    graphs: ['encode', 'rank', 'rankKv', 'gather'],
    verifyGolden: false,
    poolTables: true,
  });
});
afterAll(() => engine.close());

it('gives the scores of the oracle from pool tables and from gathered rows, for histories of any length', async () => {
  const { model, graphs } = bundle;
  const parameters = readParameters(FACTORED);
  const [itemClusters, eventClusters] = ['item', 'event'].map((field) =>
    readFileSync(join(FACTORED, `clusters-${field}.bin`)),
  );
  const clusterOf = (item: number, event: number) => `${itemClusters?.[item]} and ${eventClusters?.[event]}`;
  const cases = await readServedGolden(await openBundle(FACTORED));
  expect(cases.map(({ interactions }) => interactions.length)).toEqual(expect.arrayContaining([0, 1, 50, 300]));
  for (const { name, interactions, candidateIds, candidateFeatures, contextFeatures } of cases) {
    const items = candidateIds.map((id) => model.items.indexOf(id));
    const freshness = candidateFeatures.freshness ?? items.map(() => 0.5);
    const hour = contextFeatures.hour ?? 12;
    const request = {
      interactions,
      itemIndices: interactions.map(({ itemId }) => model.items.indexOf(itemId)),
      candidates: items.map((item, i) => ({ item, freshness: freshness[i] ?? Number.NaN })),
      hour,
    };
    const wanted = clusterOracleScores(parameters, request, model.manifest.actions, clusterOf);
    const rows = await encodeRows(bundle, interactions.map(ofAUser));
    const candidates = {
      itemIndices: Int32Array.from(items),
      columns: { freshness: Float32Array.from(freshness) },
      context: { hour },
    };
    const ranked = await graphs.run('rank', assembleRank(model, rows, candidates, bundle.poolTables));
    const gathered = await graphs.run('rankKv', assembleRankKv(model, rows, await gather(rows), candidates));
    for (const { scores } of [ranked, gathered]) {
      const worst = Math.max(...wanted.map((score, i) => Math.abs(score - Number(scores?.data[i]))));
      expect(worst, name).toBeLessThan(1e-4);
    }
  }
});

function ofAUser(interaction: Omit<Interaction, 'eventId' | 'userId'>, i: number): Interaction {
  return { ...interaction, eventId: `${i}`, userId: 'u' };
}

/** Gathers the rows of the slots that the history visits, for every group. */
async function gather(rows: Uint8Array): Promise<Map<string, GatheredRows>> {
  const items = slotHistogram(bundle.model, rows, 'item').slots;
  const events = slotHistogram(bundle.model, rows, 'event').slots;
  const asked = (slots: Int32Array) => integers('int64', slots, [slots.length]);
  const outputs = await bundle.graphs.run('gather', {
    items_key_slots: asked(items),
    events_key_slots: asked(events),
    events_value_slots: asked(events),
  });
  const rowsOf = (name: string) => outputs[name]?.data as Float32Array;
  const none = { valueSlots: new Int32Array(0), valueRows: new Float32Array(0) };
  return new Map([
    ['items', { keySlots: items, keyRows: rowsOf('items_key_rows'), ...none }],
    [
      'events',
      {
        keySlots: events,
        keyRows: rowsOf('events_key_rows'),
        valueSlots: events,
        valueRows: rowsOf('events_value_rows'),
      },
    ],
  ]);
}
