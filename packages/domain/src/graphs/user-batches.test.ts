import { describe, expect, it } from 'vitest';
import type { GraphInput } from '../bundle/manifest-schema.js';
import { float32, integers, type Tensors } from '../tensor.js';
import { powerOfTwo } from './join-feeds.js';
import { createUserBatches } from './user-batches.js';

const inputs: GraphInput[] = [
  { name: 'hour', role: 'context_feature', feature: 'hour', type: 'float32', shape: ['users', 1] },
  { name: 'slots', role: 'distinct_slots', field: 'route', type: 'int64', shape: ['users', 'slots'] },
  { name: 'slot_counts', role: 'slot_counts', field: 'route', type: 'float32', shape: ['users', 'slots'] },
  { name: 'item', role: 'candidate_item', type: 'int64', shape: ['users', 'candidates'] },
  { name: 'age', role: 'candidate_feature', feature: 'age', type: 'float32', shape: ['users', 'candidates'] },
  { name: 'codes', role: 'routes', field: 'code', last: 8, type: 'int64', shape: ['users', 'recent'] },
  { name: 'recent_count', role: 'row_count', axis: 'recent', type: 'int64', shape: ['users'] },
];
const graph = {
  inputs,
  outputs: [{ name: 'scores', role: 'scores' as const, type: 'float32' as const, shape: ['users', 'candidates'] }],
};
const LIMITS = { mostUsers: 64, bucket: powerOfTwo, mostPadding: 2, mostCells: 2 ** 26 };

function feedsOf(candidates: number, slots: number, recent: number): Tensors {
  const ones = (count: number) => integers('int64', Array(count).fill(1), [count]);
  const zeros = (count: number) => float32(new Float32Array(count), [count]);
  return {
    hour: zeros(1),
    slots: ones(slots),
    slot_counts: zeros(slots),
    item: ones(candidates),
    age: zeros(candidates),
    codes: ones(recent),
  };
}

/** Returns whether each run fits in a batch with those before it that did. */
function fitting(runs: readonly (readonly [number, number, number])[], limits: Partial<typeof LIMITS> = {}): boolean[] {
  const batches = createUserBatches(graph, { ...LIMITS, ...limits });
  const batch = batches.open();
  return runs.map((lengths) => batch.add(batches.extentOf(feedsOf(...lengths))));
}

describe('a batch', () => {
  it('measures a run once along each axis, candidates first, in buckets', () => {
    expect(createUserBatches(graph, LIMITS).extentOf(feedsOf(100, 33, 8))).toEqual([128, 64, 8]);
  });

  it('takes equal runs up to the most users', () => {
    expect(fitting(Array(5).fill([100, 50, 8]), { mostUsers: 3 })).toEqual([true, true, true, false, false]);
  });

  it('refuses runs whose padding costs more than all users alone, and takes later ones that fit', () => {
    const [long, short] = [[512, 512, 8] as const, [8, 8, 8] as const];
    expect(fitting([long, short, short, long, short])).toEqual([true, true, false, true, true]);
    expect(fitting([long, short, short, long, short], { mostPadding: 1 })).toEqual([true, false, false, true, false]);
  });

  it('refuses many candidates beside a long history, although each is as many numbers', () => {
    expect(
      fitting([
        [512, 4, 4],
        [4, 512, 4],
      ]),
    ).toEqual([true, false]);
  });

  it('takes shorter runs as long as the padding is bounded', () => {
    expect(
      fitting([
        [128, 255, 0],
        [128, 127, 0],
        [128, 63, 0],
        [128, 0, 0],
        [128, 0, 0],
      ]),
    ).toEqual([true, true, true, false, false]);
    expect(
      fitting(
        [
          [100, 255, 0],
          [100, 127, 0],
        ],
        { mostPadding: 1.25 },
      ),
    ).toEqual([true, false]);
  });

  it('holds at most so many cells, padding included, but always one run', () => {
    const most = { mostCells: 4 * 128 * (32 + 128 + 8) };
    expect(fitting(Array(6).fill([128, 128, 8]), most)).toEqual([true, true, true, true, false, false]);
    expect(fitting(Array(4).fill([128, 128, 8]), { mostCells: most.mostCells - 1 })).toEqual([
      true,
      true,
      false,
      false,
    ]); // three would be padded to four
    expect(
      fitting(
        [
          [128, 128, 8],
          [1, 1, 1],
        ],
        { mostCells: 1 },
      ),
    ).toEqual([true, false]);
  });

  it('counts the cells of a batch with those of its padding', () => {
    const batches = createUserBatches(graph, LIMITS);
    expect(batches.cellCountOf([[128, 64, 8]])).toBe(128 * (32 + 64 + 8));
    expect(
      batches.cellCountOf([
        [128, 64, 8],
        [64, 128, 8],
        [8, 8, 8],
      ]),
    ).toBe(4 * 128 * (32 + 128 + 8));
  });

  it('has only as many cells as it is allowed to have when it is begun, but always one run', () => {
    const batches = createUserBatches(graph, LIMITS);
    const extent = batches.extentOf(feedsOf(128, 128, 8));
    for (const [most, users] of [
      [4, 4],
      [3, 2], // three would be padded to four
      [0, 1],
    ] as const) {
      const batch = batches.open((cellCount) => cellCount <= most * batches.cellCountOf([extent]));
      expect([1, 2, 3, 4, 5].filter(() => batch.add(extent))).toHaveLength(users);
    }
  });

  it('bounds the memory of users without a history, too', () => {
    expect(fitting(Array(3).fill([128, 0, 0]), { mostCells: 3 * 128 * 32 })).toEqual([true, true, false]);
  });

  it('gives each user the scores of its candidates', () => {
    const batches = createUserBatches(graph, LIMITS);
    const feeds = [feedsOf(3, 1, 1), feedsOf(2, 0, 0)];
    expect(batches.join(feeds).item?.shape).toEqual([2, 4]);
    const scores = float32(Float32Array.of(1, 2, 3, 0, 4, 5, 0, 0), [2, 4]);
    expect(batches.split({ scores }, feeds)).toEqual([
      { scores: float32(Float32Array.of(1, 2, 3), [3]) },
      { scores: float32(Float32Array.of(4, 5), [2]) },
    ]);
  });
});
