import { beforeEach, describe, expect, it } from 'vitest';
import type { BundleModel } from '../bundle/bundle-model.js';
import { fixtureManifest, fixtureModel, historyManifest } from '../bundle/manifest.fixture.js';
import { isPositionInput, type Manifest } from '../bundle/manifest-schema.js';
import { readField } from '../bundle/row-layout.js';
import type { Interaction } from '../interaction.js';
import { float32, integers, type Tensors } from '../tensor.js';
import { countUnknown, encodeBatchLimit, encodeFeeds, packRows } from './encode.js';

let model: BundleModel;
beforeEach(() => {
  model = fixtureModel();
});
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

/** The fixture with a second interaction feature, which is also a raw field. */
function featuredManifest() {
  const manifest = fixtureManifest();
  manifest.features.interaction.push({ name: 'dwell', default: 1, min: -2, max: 60 });
  manifest.record.fields.push({ kind: 'raw', name: 'dwell', type: 'float32', width: 1, source: 'dwell' });
  return manifest;
}

describe('encodeFeeds', () => {
  it('feeds indices, defaults and clamped features', () => {
    const feeds = encodeFeeds(model, interactions);
    expect(feeds.item).toEqual({ type: 'int64', data: BigInt64Array.of(2n, 0n), shape: [2] });
    expect(feeds.action).toEqual({ type: 'int64', data: BigInt64Array.of(1n, 0n), shape: [2] });
    expect(feeds.ratio).toEqual({ type: 'float32', data: Float32Array.of(1, 0.5), shape: [2] });
  });

  it('clamps a feature to its own bounds, below and above', () => {
    const { interaction } = featuredManifest().features;
    const values = [-9, 3, 99].map((dwell) => ({ ...base, itemId: 'a', action: '', features: { dwell } }));
    const manifest = featuredManifest();
    manifest.graphs.encode.inputs.push({
      name: 'dwell',
      role: 'interaction_feature',
      feature: 'dwell',
      type: 'float32',
      shape: ['batch'],
    });
    expect(interaction.map(({ name }) => name)).toEqual(['watch_ratio', 'dwell']);
    expect([...(encodeFeeds(fixtureModel(manifest), values).dwell?.data ?? [])]).toEqual([-2, 3, 60]);
  });

  it('feeds the default of a feature that is called as a member of every object', () => {
    const manifest = fixtureManifest();
    manifest.features.interaction.push({ name: 'constructor', default: 3, min: 0, max: 9 });
    manifest.graphs.encode.inputs.push({
      name: 'extra',
      role: 'interaction_feature',
      feature: 'constructor',
      type: 'float32',
      shape: ['batch'],
    });
    expect(encodeFeeds(fixtureModel(manifest), interactions).extra?.data).toEqual(Float32Array.of(3, 3));
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
    const [known, unknown] = interactions as [Interaction, Interaction];
    const unknownItem = { ...known, itemId: 'zzz' };
    expect(countUnknown(model, [known, unknown, unknownItem])).toEqual({ items: 2, actions: 1 });
    expect(countUnknown(model, [known, unknown, unknown, { ...known, action: 'dance' }])).toEqual({
      items: 2,
      actions: 3,
    });
  });
});

describe('packRows', () => {
  const outputsOf = (batch: number) => ({
    route: integers('int64', Array<number>(batch).fill(1), [batch, 1]),
    user_key: float32(new Float32Array(batch), [batch, 1]),
    user_value: float32(new Float32Array(batch), [batch, 1]),
  });
  const valuesOf = (manifest: Manifest, rowBytes: Uint8Array, name: string) => {
    const { layout } = fixtureModel(manifest);
    const values = new Float32Array(rowBytes.length / layout.strideBytes);
    readField(rowBytes, layout.strideBytes, layout.field(name), values);
    return [...values];
  };

  it('writes raw fields from features, clamped or by default', () => {
    const given = [{ dwell: 7 }, {}, { dwell: 99 }].map((features) => ({ ...base, itemId: 'a', action: '', features }));
    const packed = packRows(fixtureModel(featuredManifest()), outputsOf(3), given);
    expect(valuesOf(featuredManifest(), packed, 'dwell')).toEqual([7, 1, 60]);
  });

  it('writes the highest 32-bit second for a later time', () => {
    const times = [1_999, 2 ** 32 * 1_000, 2 ** 48 - 1];
    const given = times.map((timestampMs) => ({ ...base, itemId: 'a', action: '', timestampMs }));
    const { layout } = model;
    const packed = packRows(model, outputsOf(3), given);
    const view = new DataView(packed.buffer);
    const at = layout.field('time').offsetBytes;
    expect([0, 1, 2].map((i) => view.getUint32(i * layout.strideBytes + at, true))).toEqual([
      1,
      2 ** 32 - 1,
      2 ** 32 - 1,
    ]);
  });

  it.each([
    ['is missing', { user_value: undefined }, 'encode output user_value has 0 elements, not 2'],
    ['is too long', { route: integers('int64', [1, 1, 1], [3, 1]) }, 'encode output route has 3 elements, not 2'],
  ])('refuses an output that %s', (_, change, message) => {
    const outputs = { ...outputsOf(2), ...change } as Tensors;
    const given = interactions.map((interaction) => ({ ...interaction }));
    expect(() => packRows(model, outputs, given)).toThrow(
      expect.objectContaining({ reason: 'bundle_invalid', message }),
    );
  });
});
