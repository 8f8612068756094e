import { openBundle } from '@collectivekv/bundles';
import { decodeRecord, slotHistogram } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import { realLogOf } from './real-log.js';
import { candidatesOf, randomHistories, randomInteractions, randomRows, realHistories, recordOf } from './workload.js';

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
  const [rows = new Uint8Array(0)] = await randomHistories(TARGET)(300, 2);
  const record = decodeRecord(recordOf(model, rows), {
    encodingId: model.encodingId,
    strideBytes: model.layout.strideBytes,
  });
  expect(record.positionCount).toBe(300);
  expect([...record.rows]).toEqual([...rows]);
});

it('encodes the histories of different users of a log', async () => {
  const { model } = await openBundle(TARGET);
  const histories = realHistories(TARGET, realLogOf(randomInteractions(200, { users: 2, seed: 3 })));
  const [first, second] = await histories(100, 2);
  expect(first).toHaveLength(100 * model.layout.strideBytes);
  expect(second).toHaveLength(100 * model.layout.strideBytes);
  expect(second).not.toEqual(first);
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
