import { describe, expect, it } from 'vitest';
import { countUnknown, encodeBatchLimit, encodeFeeds, packRows } from './encode.js';
import { fixtureManifest, fixtureModel, historyManifest } from './manifest.fixture.js';
import { isPositionInput } from './positions.js';
import { float32, integers } from './tensor.js';

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

/** The history manifest, its inputs over positions bounded. */
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

  it('feeds the history, quantised as the record has it, to a graph that asks for it', () => {
    const history = Buffer.concat([row(3, 0.74), row(1, 0.76)]);
    const feeds = encodeFeeds(fixtureModel(historyManifest()), interactions, history);
    expect(feeds.item?.shape).toEqual([2]);
    expect(feeds.routes).toEqual({ type: 'int64', data: BigInt64Array.of(3n, 1n), shape: [2] });
    expect(feeds.user_key).toEqual({ type: 'float32', data: Float32Array.of(0.5, 1), shape: [2, 1] });
    expect(feeds.time).toEqual({ type: 'float32', data: Float32Array.of(3, 3), shape: [2, 1] });
  });

  it('feeds no positions where there is no history, and bounded ones where the graph looks back so far only', () => {
    expect(encodeFeeds(fixtureModel(historyManifest()), interactions).user_key?.shape).toEqual([0, 1]);
    const bounded = fixtureModel(boundedManifest(1, 2, undefined));
    const feeds = encodeFeeds(bounded, interactions, Buffer.concat([row(3, 0), row(2, 0), row(1, 0)]));
    expect([feeds.routes, feeds.user_key, feeds.time].map((tensor) => tensor?.shape[0])).toEqual([1, 2, 3]);
    expect([...(feeds.routes?.data ?? [])]).toEqual([1n]);
  });
});

describe('encodesWithHistory', () => {
  it('holds where encode has an input over positions', () => {
    expect(fixtureModel(fixtureManifest()).encodesWithHistory).toBe(false);
    expect(fixtureModel(historyManifest()).encodesWithHistory).toBe(true);
  });
});

describe('encodeBatchLimit', () => {
  const everything = Number.POSITIVE_INFINITY; // the fixture's records have 5 positions at most
  it.each([
    ['no history', fixtureManifest(), 5, everything],
    ['all of the history, none there', historyManifest(), 0, 6],
    ['all of the history, room for two', historyManifest(), 3, 3],
    ['all of the history, a full record', historyManifest(), 5, 1],
    ['its newest positions', boundedManifest(2, 3, 5), 5, everything],
    ['its newest positions, all of one field', boundedManifest(2, 3), 5, 1],
    ['more of its newest positions than a record has', boundedManifest(2, 3, 6), 5, 1],
  ])('of a graph that attends to %s', (_, manifest, positions, limit) => {
    expect(encodeBatchLimit(fixtureModel(manifest), positions)).toBe(limit);
  });
});

describe('countUnknown', () => {
  it('counts items and actions that the bundle does not know', () => {
    expect(countUnknown(model, interactions)).toEqual({ items: 1, actions: 1 });
  });
});
