import { openBundle } from '@collectivekv/bundles';
import { decodeRecord, slotHistogram } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import { candidatesOf, historiesOf, randomInteractions, randomRows, recordOf } from './workload.js';

const TARGET = 'test/fixtures/bundles/target';

it('makes histories that visit every slot of the pool, and equal histories for equal seeds', async () => {
  const { model } = await openBundle(TARGET);
  const rows = randomRows(model, 5_000, 1);
  for (const field of model.layout.fields) {
    if (field.kind === 'route') expect(slotHistogram(model, rows, field.name).slots).toHaveLength(field.slots);
  }
  expect(randomRows(model, 5_000, 1)).toEqual(rows);
  expect(randomRows(model, 5_000, 2)).not.toEqual(rows);
});

it('makes records that decode to their rows', async () => {
  const { model } = await openBundle(TARGET);
  const histories = await historiesOf(TARGET, 300);
  const record = decodeRecord(recordOf(model, histories(300)), {
    bundleId: model.id,
    strideBytes: model.layout.strideBytes,
  });
  expect(record.positionCount).toBe(300);
  expect([...record.rows]).toEqual([...histories(300)]);
});

it('picks candidates that the bundle knows, and gives the same ids and indices', async () => {
  const { model } = await openBundle(TARGET);
  const { ids, candidates } = candidatesOf(model, 50);
  expect(ids.map((id) => model.items.indexOf(id))).toEqual([...candidates.itemIndices]);
  expect(Math.min(...candidates.itemIndices)).toBeGreaterThan(0);
});

it('makes different events for different seeds', () => {
  const ids = [1, 2].flatMap((seed) => randomInteractions(100, { users: 7, seed }).map(({ eventId }) => eventId));
  expect(new Set(ids).size).toBe(200);
});
