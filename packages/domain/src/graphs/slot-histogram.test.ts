import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fixtureManifest, fixtureModel } from '../bundle/manifest.fixture.js';
import type { RecordField } from '../bundle/manifest-schema.js';
import { slotHistogram } from './slot-histogram.js';

const SLOTS = { uint8: 200, uint16: 60_000, uint24: 10_000_000, uint32: 16_777_216 } as const;
const BYTES = { uint8: 1, uint16: 2, uint24: 3, uint32: 4 } as const;
type RouteType = keyof typeof SLOTS;
const TYPES = Object.keys(SLOTS) as RouteType[];

/** Returns the fixture's model with the route field moved to the end of the row. */
function modelOf(type: RouteType, slots: number) {
  const manifest = fixtureManifest();
  const route = manifest.record.fields.find(({ name }) => name === 'route') as RecordField;
  const others = manifest.record.fields.filter((field) => field !== route);
  manifest.record.fields = [...others, { ...route, type, slots } as RecordField]; // at an odd offset
  manifest.groups = manifest.groups.map((group) => ({ ...group, pool: { ...group.pool, slots } }));
  return fixtureModel(manifest);
}

function rowsOf(model: ReturnType<typeof modelOf>, routes: readonly number[]): Uint8Array {
  const { strideBytes } = model.layout;
  const { offsetBytes, type } = model.layout.field('route');
  const rows = Buffer.alloc(strideBytes * routes.length, 0xee);
  routes.forEach((route, i) => {
    rows.writeUIntLE(route, i * strideBytes + offsetBytes, BYTES[type as RouteType]);
  });
  return rows;
}

it.each(TYPES)('counts the positions of every slot of %s routes, whatever was counted before', (type) => {
  const slots = SLOTS[type];
  const model = modelOf(type, slots);
  const route = fc.oneof(fc.nat(slots - 1), fc.nat(9)); // some slots are visited often
  fc.assert(
    fc.property(fc.array(route, { maxLength: 60 }), (routes) => {
      const counted = new Map<number, number>();
      for (const route of routes) counted.set(route, (counted.get(route) ?? 0) + 1);
      const expected = [...counted].sort(([a], [b]) => a - b);
      const { slots: found, counts } = slotHistogram(model, rowsOf(model, routes), 'route');
      expect([...found]).toEqual(expected.map(([slot]) => slot));
      expect([...counts]).toEqual(expected.map(([, count]) => count));
    }),
  );
});

it.each([
  ['uint8', 200, 200],
  ['uint16', 60_000, 60_000],
  ['uint24', 10_000_000, 10_000_000],
  ['uint32', 16_777_216, 16_777_216],
  ['uint32', 16_777_216, 0xffff_ffff], // as a signed number it is below every slot
] as const)('refuses a %s route beyond its pool of %i slots, and counts correctly afterwards', (type, slots, bad) => {
  const model = modelOf(type, slots);
  const rows = rowsOf(model, [3, bad, 3]);
  const message = `a row's route is ${bad}, the pool has ${slots} slots`;
  expect(() => slotHistogram(model, rows, 'route')).toThrow(
    expect.objectContaining({ reason: 'record_corrupt', message }),
  );
  const { slots: found, counts } = slotHistogram(model, rowsOf(model, [3]), 'route');
  expect([[...found], [...counts]]).toEqual([[3], [1]]);
});

it('has no slots for an empty history, even over a pool of one slot', () => {
  expect(slotHistogram(modelOf('uint8', 1), new Uint8Array(0), 'route')).toEqual({
    slots: new Int32Array(0),
    counts: new Float32Array(0),
  });
});

it('throws a bug for a field that is not a route field', () => {
  const bug = expect.objectContaining({ reason: 'bug', message: 'time is not a route field' });
  expect(() => slotHistogram(fixtureModel(), new Uint8Array(0), 'time')).toThrow(bug);
});
