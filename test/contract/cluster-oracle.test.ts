// Compares encode -> record rows -> cluster means -> attend with the naive oracle, on both rank graphs of the bundles
// with a clustering.
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
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ClusteredModel,
  clusterOracleScores,
  factoredCoder,
  residualCoder,
  sdimAttention,
  simAttention,
  stcaAttention,
  targetAttention,
} from './naive-cluster-oracle.js';
import { readParameters } from './naive-oracle.js';

const BUNDLES = fileURLToPath(new URL('../fixtures/bundles', import.meta.url));
const MODELS: Record<string, ClusteredModel> = {
  factored: { coder: coderOf('factored'), attention: targetAttention },
  factored_sdim: { coder: coderOf('factored_sdim'), attention: sdimAttention(8, 8) },
  factored_sim: { coder: coderOf('factored_sim'), attention: simAttention(8, 8, 20) },
  factored_stca: { coder: coderOf('factored_stca'), attention: stcaAttention },
  residual: { coder: residualCoder, attention: targetAttention },
};

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
});
afterAll(() => engine.close());

describe.each(Object.entries(MODELS))('the bundle %s', (fixture, clustered) => {
  it('gives the scores of the oracle from pool tables and from gathered rows, for histories of any length', async () => {
    const folder = join(BUNDLES, fixture);
    const bundle = await loadBundle(folder, engine, {
      graphs: ['encode', 'rank', 'rankKv', 'gather'],
      verifyGolden: false,
      poolTables: true,
    });
    const { model, graphs } = bundle;
    const parameters = readParameters(folder);
    const cases = await readServedGolden(await openBundle(folder));
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
      const wanted = clusterOracleScores(parameters, request, model.manifest.actions, clustered);
      const rows = await encodeRows(bundle, interactions.map(ofAUser));
      const candidates = {
        itemIndices: Int32Array.from(items),
        columns: { freshness: Float32Array.from(freshness) },
        context: { hour },
      };
      const ranked = await graphs.run('rank', assembleRank(model, rows, candidates, bundle.poolTables));
      const gathered = await graphs.run('rankKv', assembleRankKv(model, rows, await gather(bundle, rows), candidates));
      for (const { scores } of [ranked, gathered]) {
        const worst = Math.max(...wanted.map((score, i) => Math.abs(score - Number(scores?.data[i]))));
        expect(worst, name).toBeLessThan(1e-4);
      }
    }
    await bundle.close();
  });
});

/** Returns the coder of a bundle with a factored pool. */
function coderOf(fixture: string) {
  const [items, events] = ['item', 'event'].map((field) =>
    readFileSync(join(BUNDLES, fixture, `clusters-${field}.bin`)),
  );
  return factoredCoder((item, code) => `${items?.[item]} and ${events?.[code]}`);
}

function ofAUser(interaction: Omit<Interaction, 'eventId' | 'userId'>, i: number): Interaction {
  return { ...interaction, eventId: `${i}`, userId: 'u' };
}

/** Gathers the rows of the slots that the history visits, for every group. */
async function gather({ model, graphs }: LoadedBundle, rows: Uint8Array): Promise<Map<string, GatheredRows>> {
  const gathered = new Map<string, GatheredRows>();
  const slots = new Map<string, Int32Array>(); // by input
  for (const { name, key, value } of model.manifest.groups) {
    for (const [part, spec] of Object.entries({ key, value })) {
      if (spec?.route) slots.set(`${name}_${part}`, slotHistogram(model, rows, spec.route).slots);
    }
  }
  const asked = [...slots].map(([name, x]) => [`${name}_slots`, integers('int64', x, [x.length])]);
  const found = await graphs.run('gather', Object.fromEntries(asked));
  for (const { name } of model.manifest.groups) {
    const part = (which: string) => ({
      slots: slots.get(`${name}_${which}`) ?? new Int32Array(0),
      rows: (found[`${name}_${which}_rows`]?.data ?? new Float32Array(0)) as Float32Array,
    });
    const [key, value] = [part('key'), part('value')];
    gathered.set(name, { keySlots: key.slots, keyRows: key.rows, valueSlots: value.slots, valueRows: value.rows });
  }
  return gathered;
}
