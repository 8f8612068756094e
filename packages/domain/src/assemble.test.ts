import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembleRank, assembleRankKv, slotHistogram } from './assemble.js';
import { encodeFeeds, packRows } from './encode.js';
import { fixtureModel } from './manifest.fixture.js';
import { float32, integers } from './tensor.js';

const model = fixtureModel();
const candidates = {
  itemIndices: Int32Array.of(1, 0),
  columns: { freshness: Float32Array.of(0.1, 0.2) },
  context: { hour: 9 },
};

function rowsOf(routes: readonly number[]): Uint8Array {
  const outputs = {
    route: integers('int64', routes, [routes.length, 1]),
    user_key: float32(
      Float32Array.from(routes, (route) => route * 0.5),
      [routes.length, 1],
    ),
    user_value: float32(
      Float32Array.from(routes, (route) => -route),
      [routes.length, 1],
    ),
  };
  const interactions = routes.map((_, i) => ({
    eventId: `${i}`,
    userId: 'u',
    itemId: 'a',
    timestampMs: 1000 * i,
    action: '',
    features: {},
  }));
  return packRows(model, outputs, interactions);
}

describe('encode', () => {
  it('feeds indices, defaults and clamped features', () => {
    const base = { eventId: 'e', userId: 'u', timestampMs: 1, features: {} };
    const { feeds, unknownItemCount, unknownActionCount } = encodeFeeds(model, [
      { ...base, itemId: 'b', action: 'click', features: { watch_ratio: 7 } },
      { ...base, itemId: 'zzz', action: 'dance' },
    ]);
    expect([...(feeds.item?.data ?? [])]).toEqual([2n, 0n]);
    expect([...(feeds.action?.data ?? [])]).toEqual([1n, 0n]);
    expect([...(feeds.ratio?.data ?? [])]).toEqual([1, 0.5]);
    expect([unknownItemCount, unknownActionCount]).toEqual([1, 1]);
  });

  it('packs rows to golden bytes: route, int8, float16, time', () => {
    expect(Buffer.from(rowsOf([3, 1])).toString('hex')).toBe(
      ['03', '03', '00c2', '00000000', '01', '01', '00bc', '01000000'].join(''),
    );
  });
});

describe('assembleRank', () => {
  it('counts each distinct slot once, ascending', () => {
    const { slots, slot_counts, routes } = assembleRank(model, rowsOf([3, 1, 3, 3]), candidates);
    expect([...(slots?.data ?? [])]).toEqual([1n, 3n]);
    expect([...(slot_counts?.data ?? [])]).toEqual([1, 3]);
    expect([...(routes?.data ?? [])]).toEqual([3n, 1n, 3n, 3n]);
  });

  it('fills a cold user with empty tensors', () => {
    const feeds = assembleRank(model, new Uint8Array(0), candidates);
    expect(feeds.slots?.shape).toEqual([0]);
    expect(feeds.user_key?.shape).toEqual([0, 1]);
  });

  it('refuses a route beyond the pool', () => {
    const rows = rowsOf([1]);
    rows[0] = 4;
    expect(() => slotHistogram(model, rows, 'route')).toThrow(/route is 4, of 4 slots/);
  });
});

describe('assembleRankKv', () => {
  it('puts the pool row and the user dims side by side, whatever the routes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 12 }), (routes) => {
        const rows = rowsOf(routes);
        const { slots } = slotHistogram(model, rows, 'route');
        const pool = Float32Array.from(slots, (slot) => slot * 10);
        const poolRows = Float32Array.from([...pool].flatMap((value) => [value, value + 1]));
        const gathered = { keySlots: slots, keyRows: poolRows, valueSlots: slots, valueRows: poolRows };
        const { key, value } = assembleRankKv(model, rows, new Map([['history', gathered]]), candidates);
        expect([...(key?.data ?? [])]).toEqual(routes.flatMap((route) => [route * 10, route * 10 + 1, route * 0.5]));
        expect([...(value?.data ?? [])].map((x) => Number(x) + 0)).toEqual(
          routes.flatMap((route) => [route * 10, route * 10 + 1, 0 - route]),
        );
      }),
    );
  });
});
