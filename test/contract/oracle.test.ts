// Compares encode -> record rows -> assemble -> attend with the naive oracle, on both rank graphs of a bundle with a
// pool of keys and values.
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import {
  assembleRank,
  assembleRankKv,
  type GatheredRows,
  type Interaction,
  integers,
  slotHistogram,
} from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { createFeedSimulator } from '@collectivekv/feed-simulator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oracleScores, readParameters } from './naive-oracle.js';

const TARGET = fileURLToPath(new URL('../fixtures/bundles/target', import.meta.url));
const parameters = readParameters(TARGET);
let engine: Engine;
let bundle: LoadedBundle;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  bundle = await loadBundle(TARGET, engine, { graphs: ['encode', 'rank', 'rankKv', 'gather'], verifyGolden: false });
});
afterAll(() => engine.close());

/** Returns an item that the bundle knows: its catalogue is smaller than the simulator's. */
function knownItem(simulatedId: string): string {
  const { items } = bundle.model;
  return items.idAt(1 + (Number(simulatedId.slice(1)) % (items.count - 1)));
}

/** Returns a simulated user's history and candidates. Some items and actions are unknown to the bundle. */
function requestOf(userIndex: number, positions: number) {
  const user = createFeedSimulator({ seed: 1 }).user(userIndex);
  const interactions: Interaction[] = user.expose(positions, 1_700_000_000_000).map((exposure, i) => ({
    eventId: `${i}`,
    userId: exposure.userId,
    itemId: i % 17 === 5 ? 'unknown' : knownItem(exposure.itemId),
    timestampMs: exposure.timestampMs,
    action: i % 13 === 4 ? 'shout' : exposure.action,
    features: i % 11 === 3 ? {} : { watch_ratio: exposure.watchRatio },
  }));
  const { items } = bundle.model;
  const candidates = user.candidates(15, 1_700_500_000_000).map(({ itemId, freshness }, i) => ({
    item: i === 7 ? 0 : items.indexOf(knownItem(itemId)),
    freshness: Math.fround(freshness),
  }));
  return { interactions, itemIndices: interactions.map(({ itemId }) => items.indexOf(itemId)), candidates, hour: 13.5 };
}

describe.each([0, 1, 2, 15, 120, 700])('a history of %i positions', (positions) => {
  it('gives the scores of the oracle, collapsed onto slots and assembled by position', async () => {
    const { model, graphs } = bundle;
    for (const userIndex of [3, 4]) {
      const request = requestOf(userIndex, positions);
      const wanted = oracleScores(parameters, request, model.manifest.actions);
      const rows = await encodeRows(bundle, request.interactions);
      const candidates = {
        itemIndices: Int32Array.from(request.candidates, ({ item }) => item),
        columns: { freshness: Float32Array.from(request.candidates, ({ freshness }) => freshness) },
        context: { hour: request.hour },
      };
      const collapsed = await graphs.run('rank', assembleRank(model, rows, candidates));
      const gathered = await gather(rows);
      const assembled = await graphs.run('rankKv', assembleRankKv(model, rows, gathered, candidates));
      for (const { scores } of [collapsed, assembled]) {
        const worst = Math.max(...wanted.map((score, i) => Math.abs(score - Number(scores?.data[i]))));
        expect(worst).toBeLessThan(1e-4);
      }
    }
  });
});

/** Gathers the rows of the pool and of the codebook. */
async function gather(rows: Uint8Array): Promise<Map<string, GatheredRows>> {
  const slots = {
    history: slotHistogram(bundle.model, rows, 'route').slots,
    user: slotHistogram(bundle.model, rows, 'user_code').slots,
  };
  const asked = (values: Int32Array) => integers('int64', values, [values.length]);
  const outputs = await bundle.graphs.run('gather', {
    history_key_slots: asked(slots.history),
    history_value_slots: asked(slots.history),
    user_key_slots: asked(slots.user),
    user_value_slots: asked(slots.user),
  });
  const rowsOf = (name: string) => outputs[name]?.data as Float32Array;
  return new Map(
    (['history', 'user'] as const).map((group) => [
      group,
      {
        keySlots: slots[group],
        keyRows: rowsOf(`${group}_key_rows`),
        valueSlots: slots[group],
        valueRows: rowsOf(`${group}_value_rows`),
      },
    ]),
  );
}
