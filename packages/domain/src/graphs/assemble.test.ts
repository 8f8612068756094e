import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { type BundleModel, createBundleModel } from '../bundle/bundle-model.js';
import {
  addExplainGraph,
  codebookManifest,
  fixtureManifest,
  fixtureModel,
  fullManifest,
  manifestBytes,
} from '../bundle/manifest.fixture.js';
import { isPositionInput } from '../bundle/manifest-schema.js';
import { float16ToNumber, numberToFloat16 } from '../float16.js';
import { float32, integers } from '../tensor.js';
import { assembleExplain, assembleRank, assembleRankKv } from './assemble.js';
import { packRows } from './encode.js';
import { slotHistogram } from './slot-histogram.js';

let model: BundleModel;
beforeEach(() => {
  model = fixtureModel();
});
const bug = (message: RegExp) => expect.objectContaining({ reason: 'bug', message: expect.stringMatching(message) });
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

describe('packRows', () => {
  it('packs rows to golden bytes: route, int8, float16, time', () => {
    expect(Buffer.from(rowsOf([3, 1])).toString('hex')).toBe(
      ['03', '03', '00c2', '00000000', '01', '01', '00bc', '01000000'].join(''),
    );
  });
});

describe('assembleExplain', () => {
  it('gives the inputs of the rank graph, and the place of each position among the distinct slots', () => {
    const manifest = fixtureManifest();
    addExplainGraph(manifest);
    const explaining = createBundleModel({ manifestBytes: manifestBytes(manifest), itemIds: ['', 'a', 'b'] });
    const rows = rowsOf([3, 1, 3, 0]);
    const { places, ...others } = assembleExplain(explaining, rows, candidates);
    expect(places).toEqual({ type: 'int64', data: BigInt64Array.of(2n, 1n, 2n, 0n), shape: [4] });
    expect(others).toEqual(assembleRank(explaining, rows, candidates));
  });

  it('is a bug for a bundle without an explain graph', () => {
    expect(() => assembleExplain(model, rowsOf([1]), candidates)).toThrow(bug(/no explain graph/));
  });
});

describe('assembleRank', () => {
  it('counts each distinct slot once, ascending', () => {
    const { slots, slot_counts, routes } = assembleRank(model, rowsOf([3, 1, 3, 3]), candidates);
    expect(slots).toEqual({ type: 'int64', data: BigInt64Array.of(1n, 3n), shape: [2] });
    expect(slot_counts).toEqual({ type: 'float32', data: Float32Array.of(1, 3), shape: [2] });
    expect(routes).toEqual({ type: 'int64', data: BigInt64Array.of(3n, 1n, 3n, 3n), shape: [4] });
  });

  it('fills the inputs of candidates and context', () => {
    const feeds = assembleRank(model, rowsOf([3]), candidates);
    expect(feeds.candidate_item).toEqual({ type: 'int64', data: BigInt64Array.of(1n, 0n), shape: [2] });
    expect(feeds.freshness).toEqual({ type: 'float32', data: Float32Array.of(0.1, 0.2), shape: [2] });
    expect(feeds.hour).toEqual({ type: 'float32', data: Float32Array.of(9), shape: [1] });
  });

  it("copies a candidate's column, since a tensor's memory may move to another thread", () => {
    const { freshness } = assembleRank(model, rowsOf([3]), candidates);
    expect(freshness?.data.buffer).not.toBe(candidates.columns.freshness.buffer);
  });

  it.each([
    ['a missing column', { columns: {} }, /no column freshness for 2 candidates/],
    ['a column of another length', { columns: { freshness: Float32Array.of(1) } }, /no column freshness/],
    ['a missing context feature', { context: {} }, /no context feature hour/],
  ])('throws a bug for %s', (_, change, message) => {
    expect(() => assembleRank(model, rowsOf([3]), { ...candidates, ...change })).toThrow(bug(message));
  });

  it('fills a cold user with empty tensors', () => {
    const feeds = assembleRank(model, new Uint8Array(0), candidates);
    expect(feeds.slots?.shape).toEqual([0]);
    expect(feeds.user_key?.shape).toEqual([0, 1]);
  });

  it('refuses a route beyond the pool', () => {
    const rows = rowsOf([1]);
    rows[0] = 4;
    const refusal = expect.objectContaining({
      reason: 'record_corrupt',
      message: "a row's route is 4, the pool has 4 slots",
    });
    expect(() => assembleRank(model, rows, candidates)).toThrow(refusal);
    const none = { keySlots: new Int32Array(0), keyRows: new Float32Array(0) };
    const gathered = new Map([['history', { ...none, valueSlots: none.keySlots, valueRows: none.keyRows }]]);
    expect(() => assembleRankKv(model, rows, gathered, candidates)).toThrow(refusal);
  });
});

describe('an input over positions', () => {
  const lastModel = (last: number) => {
    const manifest = fixtureManifest();
    const { rank, rankKv } = manifest.graphs;
    rankKv.inputs.push({ name: 'time', role: 'raw', field: 'time', type: 'float32', shape: ['recent', 1] });
    rank.inputs.push({ name: 'all_routes', role: 'routes', field: 'route', type: 'int64', shape: ['positions'] });
    for (const graph of [rank, rankKv]) {
      graph.inputs = graph.inputs.map((input) =>
        isPositionInput(input) && input.name !== 'all_routes' ? { ...input, last } : input,
      );
    }
    return fixtureModel(manifest);
  };

  it.each([
    [1, [2]],
    [3, [1, 3, 2]],
    [4, [3, 1, 3, 2]],
    [9, [3, 1, 3, 2]],
  ])('with last %i has only the newest positions, oldest first', (last, newest) => {
    const rows = rowsOf([3, 1, 3, 2]);
    const feeds = assembleRank(lastModel(last), rows, candidates);
    expect([...(feeds.routes?.data ?? [])].map(Number)).toEqual(newest);
    expect(feeds.user_key).toMatchObject({ shape: [newest.length, 1] });
    expect([...(feeds.user_value?.data ?? [])]).toEqual(newest.map((route) => -route));
    expect([...(feeds.all_routes?.data ?? [])].map(Number)).toEqual([3, 1, 3, 2]);
    expect([...(feeds.slot_counts?.data ?? [])]).toEqual([1, 1, 2]); // of the whole history
  });

  it('has the newest positions in rank_kv too, and none for a cold user', () => {
    const pool = { keySlots: Int32Array.of(0), keyRows: new Float32Array(2) };
    const gathered = new Map([['history', { ...pool, valueSlots: pool.keySlots, valueRows: pool.keyRows }]]);
    const feedsOf = (rows: Uint8Array) => assembleRankKv(lastModel(2), rows, gathered, candidates);
    const feeds = feedsOf(rowsOf([0, 0, 0]));
    expect([feeds.time?.shape, feeds.key?.shape]).toEqual([
      [2, 1],
      [3, 3],
    ]);
    expect([...(feeds.time?.data ?? [])]).toEqual([1, 2]);
    expect(feedsOf(new Uint8Array(0)).time?.shape).toEqual([0, 1]);
  });
});

describe('a codebook', () => {
  const codedModel = () => fixtureModel(codebookManifest());
  const codedRows = () =>
    packRows(
      codedModel(),
      {
        route: integers('int64', [3, 1, 3], [3, 1]),
        user_key: float32(new Float32Array(3), [3, 1]),
        user_value: float32(new Float32Array(3), [3, 1]),
        code: integers('int64', [255, 7, 7], [3, 1]),
      },
      ['e0', 'e1', 'e2'].map((eventId) => {
        return { eventId, userId: 'u', itemId: 'a', timestampMs: 1, action: '', features: {} };
      }),
    );

  it('gets a histogram of its codes, apart from the histogram of the slots', () => {
    const { slots, slot_counts, codes, code_counts } = assembleRank(codedModel(), codedRows(), candidates);
    expect([slots, slot_counts].map((tensor) => [...(tensor?.data ?? [])].map(Number))).toEqual([
      [1, 3],
      [1, 2],
    ]);
    expect([codes, code_counts].map((tensor) => [...(tensor?.data ?? [])].map(Number))).toEqual([
      [7, 255],
      [2, 1],
    ]);
  });

  it('assembles each group from its own route field and its own pool', () => {
    const part = (slots: number[], width: number, offset: number) =>
      Float32Array.from(slots.flatMap((slot) => Array<number>(width).fill(slot + offset)));
    const gathered = (slots: number[], keyWidth: number, valueWidth: number) => ({
      keySlots: Int32Array.from(slots),
      keyRows: part(slots, keyWidth, 0),
      valueSlots: Int32Array.from(slots),
      valueRows: part(slots, valueWidth, 0.5),
    });
    const pools = new Map([
      ['history', gathered([1, 3], 2, 2)],
      ['codes', gathered([7, 255], 1, 3)],
    ]);
    const feeds = assembleRankKv(codedModel(), codedRows(), pools, candidates);
    expect([...(feeds.key?.data ?? [])]).toEqual([3, 3, 0, 1, 1, 0, 3, 3, 0]);
    expect(feeds.code_key).toEqual({ type: 'float32', data: Float32Array.of(255, 7, 7), shape: [3, 1] });
    expect([...(feeds.code_value?.data ?? [])]).toEqual([255.5, 255.5, 255.5, 7.5, 7.5, 7.5, 7.5, 7.5, 7.5]);
  });
});

describe('assembleRankKv', () => {
  it('puts pool row and user dims side by side, whatever the routes', () => {
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

describe('assembleRankKv with keys and values of unlike widths', () => {
  /** Keys of 2 pool and 2 user dims, values of 1 pool and 3 user dims. */
  function wideModel() {
    const manifest = fixtureManifest();
    manifest.groups = manifest.groups.map((group) => ({
      ...group,
      pool: { slots: 4, keyWidth: 2, valueWidth: 1 },
    }));
    manifest.record.fields = manifest.record.fields.map((field) => {
      if (field.name === 'user_key') return { kind: 'user', name: 'user_key', type: 'float32', width: 2 };
      if (field.name === 'user_value') return { kind: 'user', name: 'user_value', type: 'float16', width: 3 };
      return field;
    });
    return fixtureModel(manifest);
  }
  const wideRows = () =>
    packRows(
      wideModel(),
      {
        route: integers('int64', [2, 0], [2, 1]),
        user_key: float32(Float32Array.of(1, 2, 3, 4), [2, 2]),
        user_value: float32(Float32Array.of(5, 6, 7, 8, 9, 10), [2, 3]),
      },
      ['e0', 'e1'].map((eventId) => {
        return { eventId, userId: 'u', itemId: 'a', timestampMs: 1, action: '', features: {} };
      }),
    );
  const gathered = {
    keySlots: Int32Array.of(0, 2),
    keyRows: Float32Array.of(100, 101, 120, 121),
    valueSlots: Int32Array.of(2, 0),
    valueRows: Float32Array.of(220, 200),
  };

  it("puts each position's pool row before its user dims", () => {
    const feeds = assembleRankKv(wideModel(), wideRows(), new Map([['history', gathered]]), candidates);
    expect(feeds.key).toEqual(float32(Float32Array.of(120, 121, 1, 2, 100, 101, 3, 4), [2, 4]));
    expect(feeds.value).toEqual(float32(Float32Array.of(220, 5, 6, 7, 200, 8, 9, 10), [2, 4]));
  });

  it('throws a bug for a group without gathered rows', () => {
    expect(() => assembleRankKv(wideModel(), wideRows(), new Map(), candidates)).toThrow(
      bug(/no rows gathered for group/),
    );
  });

  it('throws a bug for a slot without a gathered row', () => {
    const incomplete = { ...gathered, valueSlots: Int32Array.of(2), valueRows: Float32Array.of(220) };
    expect(() => assembleRankKv(wideModel(), wideRows(), new Map([['history', incomplete]]), candidates)).toThrow(
      bug(/slot 0 was not gathered/),
    );
  });
});

describe("a full model's keys and values", () => {
  const fullModel = () => fixtureModel(fullManifest());
  const shape = [3, 80];
  const keys = Float32Array.from({ length: 240 }, (_, i) => i / 7 - 15);
  const values = Float32Array.from({ length: 240 }, (_, i) => 15 - i / 7);
  const interactions = [1, 2, 3].map((timestampMs) => {
    return { eventId: '', userId: 'u', itemId: 'a', timestampMs, action: '', features: {} };
  });
  const packed = () =>
    packRows(fullModel(), { key: float32(keys, shape), value: float32(values, shape) }, interactions);
  const rounded = () => keys.map((key) => float16ToNumber(numberToFloat16(key)));

  it('are read unchanged, whatever the offset of the rows in memory', () => {
    for (const offset of [0, 1, 2, 3]) {
      const rows = new Uint8Array(offset + packed().length).subarray(offset);
      rows.set(packed());
      const feeds = assembleRank(fullModel(), rows, candidates);
      expect(feeds.value).toEqual(float32(values, shape));
      expect(feeds.key_numbers).toEqual(float32(rounded(), shape));
      expect(feeds.key).toEqual({ type: 'float16', data: Uint16Array.from(keys, numberToFloat16), shape });
    }
  });

  it('are assembled without pool rows', () => {
    const none = { keySlots: new Int32Array(0), keyRows: new Float32Array(0) };
    const gathered = { ...none, valueSlots: none.keySlots, valueRows: none.keyRows };
    const feeds = assembleRankKv(fullModel(), packed(), new Map([['history', gathered]]), candidates);
    expect([feeds.key, feeds.value]).toEqual([float32(rounded(), shape), float32(values, shape)]);
  });

  it('are empty for a cold user', () => {
    const { key, value } = assembleRank(fullModel(), new Uint8Array(0), candidates);
    expect([key?.shape, value?.shape]).toEqual([
      [0, 80],
      [0, 80],
    ]);
  });
});
