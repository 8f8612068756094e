import { describe, expect, it } from 'vitest';
import { fixtureManifest, fixtureModel, historyManifest } from '../bundle/manifest.fixture.js';
import { isPositionInput } from '../bundle/manifest-schema.js';
import { float32, integers } from '../tensor.js';
import { countUnknown, encodeBatchLimit, encodeFeeds, packRows } from './encode.js';

const model = fixtureModel();
const base = { eventId: 'e', userId: 'u', timestampMs: 3_000, features: {} };
const interactions = [
  { ...base, itemId: 'b', action: 'click', features: { watch_ratio: 7 } },
  { ...base, itemId: 'zzz', action: 'dance' },
];
const row = (route: number, userKey: number) =>
  packRows(
    model,
    {
      route: integers('int64', [route], [1, 1]),
      user_key: float32(Float32Array.of(userKey), [1, 1]),
      user_value: float32(Float32Array.of(0), [1, 1]),
    },
    [{ ...base, itemId: 'a', action: '' }],
  );

/** Returns the history manifest with a `last` on its inputs over positions. */
function boundedManifest(...bounds: (number | undefined)[]) {
  const manifest = historyManifest();
  manifest.graphs.encode.inputs = manifest.graphs.encode.inputs.map((input) => {
    const last = isPositionInput(input) ? bounds.shift() : undefined;
    return last === undefined ? input : { ...input, last };
  });
  return manifest;
}

describe('encodeFeeds', () => {
  it('feeds indices, defaults and clamped features', () => {
    const feeds = encodeFeeds(model, interactions);
    expect([...(feeds.item?.data ?? [])]).toEqual([2n, 0n]);
    expect([...(feeds.action?.data ?? [])]).toEqual([1n, 0n]);
    expect([...(feeds.ratio?.data ?? [])]).toEqual([1, 0.5]);
  });

  it('feeds the history, with the quantised values of the record, to a graph that takes it', () => {
    const history = Buffer.concat([row(3, 0.74), row(1, 0.76)]);
    const feeds = encodeFeeds(fixtureModel(historyManifest()), interactions, history);
    expect(feeds.item?.shape).toEqual([2]);
    expect(feeds.routes).toEqual({ type: 'int64', data: BigInt64Array.of(3n, 1n), shape: [2] });
    expect(feeds.user_key).toEqual({ type: 'float32', data: Float32Array.of(0.5, 1), shape: [2, 1] });
    expect(feeds.time).toEqual({ type: 'float32', data: Float32Array.of(3, 3), shape: [2, 1] });
  });

  it('feeds no positions without a history, and at most the newest `last` positions', () => {
    expect(encodeFeeds(fixtureModel(historyManifest()), interactions).user_key?.shape).toEqual([0, 1]);
    const bounded = fixtureModel(boundedManifest(1, 2, undefined));
    const feeds = encodeFeeds(bounded, interactions, Buffer.concat([row(3, 0), row(2, 0), row(1, 0)]));
    expect([feeds.routes, feeds.user_key, feeds.time].map((tensor) => tensor?.shape[0])).toEqual([1, 2, 3]);
    expect([...(feeds.routes?.data ?? [])]).toEqual([1n]);
  });
});

describe('encodesWithHistory', () => {
  it('is true if the encode graph has an input over positions', () => {
    expect(fixtureModel(fixtureManifest()).encodesWithHistory).toBe(false);
    expect(fixtureModel(historyManifest()).encodesWithHistory).toBe(true);
  });
});

describe('encodeBatchLimit', () => {
  const everything = Number.POSITIVE_INFINITY; // the fixture's records have at most 5 positions
  it.each([
    ['no history', fixtureManifest(), 5, everything],
    ['the whole history, which is empty', historyManifest(), 0, 6],
    ['the whole history, with room for two', historyManifest(), 3, 3],
    ['the whole history, which fills the record', historyManifest(), 5, 1],
    ['the newest positions of all fields', boundedManifest(2, 3, 5), 5, everything],
    ['the newest positions of two fields and all of a third', boundedManifest(2, 3), 5, 1],
    ['more of the newest positions than a record has', boundedManifest(2, 3, 6), 5, 1],
  ])('for a graph with %s', (_, manifest, positions, limit) => {
    expect(encodeBatchLimit(fixtureModel(manifest), positions)).toBe(limit);
  });
});

describe('countUnknown', () => {
  it('counts items and actions that the bundle does not know', () => {
    expect(countUnknown(model, interactions)).toEqual({ items: 1, actions: 1 });
  });
});
