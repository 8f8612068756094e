import type { BundleModel, PlacedField } from '@collectivekv/domain';
import { createLogger } from '@collectivekv/service-kit';
import { expect, it } from 'vitest';
import { createSlotReports } from './slot-reports.js';

const fields: readonly PlacedField[] = [
  { kind: 'route', name: 'item', type: 'uint8', width: 1, slots: 4, offsetBytes: 0 },
  { kind: 'user', name: 'dims', type: 'int8', width: 1, scale: [1], offsetBytes: 1 },
  { kind: 'route', name: 'event', type: 'uint8', width: 1, slots: 9, offsetBytes: 2 },
];

/** Returns a model of rows with two routes, [item, dims, event]. */
function modelOf(encodingId: string): BundleModel {
  const field = (name: string) => fields.find((one) => one.name === name);
  return { encodingId, layout: { strideBytes: 3, fields, field } } as unknown as BundleModel;
}

interface Sent {
  readonly encodingId: string;
  readonly fields: readonly { readonly field: string; readonly slots: Buffer; readonly counts: Buffer }[];
}

const numbers = (bytes: Buffer) => [...new Uint32Array(Uint8Array.from(bytes).buffer)];

function reportsTo(answer: () => Promise<object>) {
  const sent: unknown[] = [];
  const pool = {
    call: async (_: string, { encodingId, fields }: Sent) => {
      const counted = fields.map(({ field, slots, counts }) => [field, numbers(slots), numbers(counts)]);
      sent.push([encodingId, ...counted]);
      return answer();
    },
  };
  const reports = createSlotReports({ pool: pool as never, log: createLogger('test', 'silent') });
  return { reports, sent };
}

it('adds up the routes of all rows by encoding, and begins anew after a report', async () => {
  const { reports, sent } = reportsTo(async () => ({}));
  reports.observe(modelOf('a'), Uint8Array.of(3, 99, 8, 1, 99, 8));
  reports.observe(modelOf('a'), Uint8Array.of(3, 99, 0));
  reports.observe(modelOf('b'), Uint8Array.of(0, 99, 1));
  await reports.send();
  expect(sent).toEqual([
    ['a', ['item', [3, 1], [2, 1]], ['event', [8, 0], [2, 1]]],
    ['b', ['item', [0], [1]], ['event', [1], [1]]],
  ]);
  await reports.send();
  expect(sent).toHaveLength(2);
  reports.close();
});

it('goes on after a report that failed', async () => {
  const { reports, sent } = reportsTo(() => Promise.reject(new Error('away')));
  reports.observe(modelOf('a'), Uint8Array.of(3, 99, 8));
  await reports.send();
  reports.observe(modelOf('a'), Uint8Array.of(2, 99, 8));
  await reports.send();
  expect(sent).toEqual([
    ['a', ['item', [3], [1]], ['event', [8], [1]]],
    ['a', ['item', [2], [1]], ['event', [8], [1]]],
  ]);
  reports.close();
});
