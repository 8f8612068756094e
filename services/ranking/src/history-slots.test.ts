import type { LoadedBundle } from '@collectivekv/bundles';
import type { PlacedField } from '@collectivekv/domain';
import { createMetrics } from '@collectivekv/service-kit';
import { expect, it } from 'vitest';
import { createHistorySlots } from './history-slots.js';

/** Returns a bundle whose rows are a route and one byte of another kind. */
function bundleOf(name: string): LoadedBundle {
  const fields: readonly PlacedField[] = [
    { kind: 'route', name, type: 'uint8', width: 1, slots: 200, offsetBytes: 0 },
    { kind: 'user', name: 'dims', type: 'int8', width: 1, scale: [1], offsetBytes: 1 },
  ];
  const field = (wanted: string) => fields.find((one) => one.name === wanted);
  return { model: { layout: { strideBytes: 2, fields, field } } } as unknown as LoadedBundle;
}

async function observing() {
  const { registry } = createMetrics('test');
  const slots = createHistorySlots({ registry });
  const text = () => registry.getSingleMetricAsString('ckv_history_distinct_slots');
  return { slots, text };
}

it('counts the distinct slots of one answer in a hundred', async () => {
  const { slots, text } = await observing();
  const bundle = bundleOf('item');
  slots.observe({ bundle, rows: Uint8Array.of(7, 0, 9, 0, 7, 1) });
  for (let i = 1; i < 100; i++) slots.observe({ bundle, rows: Uint8Array.of(1, 0) });
  slots.observe({ bundle, rows: new Uint8Array(0) }); // no history: not among the hundred
  slots.observe({ bundle, rows: Uint8Array.of(1, 0, 2, 0, 3, 0) });
  expect(await text()).toMatch(/_sum\{.*field="item".*\} 5$/m);
  expect(await text()).toMatch(/_count\{.*field="item".*\} 2$/m);
});

it('leaves out a route beyond the pool', async () => {
  const { slots, text } = await observing();
  slots.observe({ bundle: bundleOf('item'), rows: Uint8Array.of(200, 0) });
  expect(await text()).not.toMatch(/_count\{.*\} 1\n/);
});

it('has at most 64 labels', async () => {
  const { slots, text } = await observing();
  for (let i = 0; i < 70 * 100; i++)
    slots.observe({ bundle: bundleOf(`field${Math.floor(i / 100)}`), rows: Uint8Array.of(1, 0) });
  const labels = new Set([...(await text()).matchAll(/field="([^"]+)"/g)].map(([, label]) => label));
  expect(labels.size).toBe(65);
  expect(labels).toContain('other');
});
