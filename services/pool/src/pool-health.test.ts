import type { LoadedBundle } from '@collectivekv/bundles';
import { describe, expect, it } from 'vitest';
import { createPoolHealth, type UsageReport } from './pool-health.js';

const WINDOW_MS = 1_000;

/** Returns a bundle with a route field of 4 slots, and one that is too large to be counted. */
function bundleOf(id: string, encodingId: string, trained?: Uint32Array): LoadedBundle {
  const fields = [
    { kind: 'route', name: 'item', type: 'uint8', width: 1, slots: 4 },
    { kind: 'user', name: 'dims', type: 'int8', width: 1 },
    { kind: 'route', name: 'huge', type: 'uint24', width: 1, slots: 2_000_000 },
  ];
  const trainedUsage = new Map(trained ? [['item', trained] as const] : []);
  const model = { id, encodingId, manifest: { record: { fields } }, trainedUsage };
  return { model } as unknown as LoadedBundle;
}

function healthOf(bundles: readonly LoadedBundle[]) {
  let nowMs = 0;
  const shelf = {
    ids: () => bundles.map(({ model }) => model.id),
    get: (id: string) => bundles.find(({ model }) => model.id === id) as LoadedBundle,
  };
  const health = createPoolHealth(shelf, WINDOW_MS, () => nowMs);
  return { health, passMs: (ms: number) => (nowMs += ms) };
}

const report = (encodingId: string, slots: number[], counts: number[], field = 'item'): UsageReport => ({
  encodingId,
  fields: [{ field, slots: Uint32Array.from(slots), counts: Uint32Array.from(counts) }],
});

describe('pool health', () => {
  it('adds up the reports of all updaters, and counts once for all bundles of an encoding', () => {
    const [old, next] = [bundleOf('a', 'e'), bundleOf('b', 'e', Uint32Array.of(5, 5, 0, 0))];
    const { health } = healthOf([old, next]);
    health.add(report('e', [0, 1], [2, 2]));
    health.add(report('e', [1], [4]));
    expect(health.of(old)).toEqual([
      expect.objectContaining({
        field: 'item',
        recent: expect.objectContaining({ positionCount: 8, slotCount: 4, usedCount: 2 }),
        recentRankShares: [0.75, 0.25],
        trained: undefined,
        drift: undefined,
      }),
    ]);
    expect(health.of(next)[0]).toMatchObject({
      recent: { positionCount: 8 },
      trained: { positionCount: 10, perplexity: 2, rankShares: [0.5, 0.5] },
      drift: { distance: 0.25, trainedCount: 10 },
    });
  });

  it('forgets positions after two windows, and computes figures anew after 5 s', () => {
    const bundle = bundleOf('a', 'e');
    const { health, passMs } = healthOf([bundle]);
    health.add(report('e', [0], [1]));
    const positions = () => health.of(bundle)[0]?.recent.positionCount;
    expect(positions()).toBe(1);
    health.add(report('e', [0], [1]));
    passMs(4_999);
    expect(positions()).toBe(1);
    passMs(1);
    expect(positions()).toBe(0);
  });

  it('drops the counts of an encoding that no bundle has any more', () => {
    const bundles = [bundleOf('a', 'e'), bundleOf('b', 'f')];
    const { health, passMs } = healthOf(bundles);
    const [gone] = bundles.splice(0, 1, bundleOf('c', 'g')) as [LoadedBundle];
    health.add(report('g', [0], [1]));
    passMs(5_000);
    expect(() => health.add(report('e', [0], [1]))).toThrow('no loaded bundle has the encoding e');
    expect(health.of(gone)[0]?.recent.positionCount).toBe(0);
  });

  it.each([
    ['an encoding of no bundle', report('x', [0], [1]), 'encoding_id: no loaded bundle'],
    ['a field of no route', report('e', [0], [1], 'dims'), 'fields[0].field: dims'],
    ['a field with too many slots to count', report('e', [0], [1], 'huge'), 'fields[0].field: huge'],
    ['a slot beyond the pool', report('e', [3, 4], [1, 1]), 'fields[0].slots: has the slot 4, item has 4'],
    ['fewer counts than slots', report('e', [0, 1], [1]), 'fields[0].counts: has 1 count for 2 slots'],
  ])('refuses %s, and adds nothing', (_, bad, message) => {
    const bundle = bundleOf('a', 'e');
    const { health } = healthOf([bundle]);
    expect(() => health.add(bad)).toThrow(message);
    expect(health.of(bundle)[0]?.recent.positionCount).toBe(0);
  });
});
