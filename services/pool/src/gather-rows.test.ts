import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createBundleModel, type Tensors } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import { gatherRows } from './gather-rows.js';

const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));

/** A pool and a codebook. The rows of its gather graph are the slots. */
function twoGroups() {
  const manifest = JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8'));
  const pool = { slots: 256, keyWidth: 1, valueWidth: 1 };
  manifest.record.fields = [
    ...manifest.record.fields,
    { kind: 'route', name: 'code', type: 'uint8', width: 1, slots: 256 },
  ];
  manifest.groups = [
    { name: 'history', pool, key: { route: 'route' }, value: { route: 'route' } },
    { name: 'codes', pool, key: { route: 'code' }, value: { route: 'code' } },
  ];
  manifest.graphs.encode.outputs.push({ name: 'code', role: 'field', field: 'code', type: 'int64', shape: [] });
  manifest.graphs.rankKv.inputs = [];
  const parts = ['history', 'codes'].flatMap((group) => ['key', 'value'].map((part) => ({ group, part })));
  manifest.graphs.gather = {
    file: 'gather.onnx',
    inputs: parts.map((one) => ({ name: `${one.group}_${one.part}`, role: 'slots', type: 'int64', shape: [], ...one })),
    outputs: parts.map((one) => {
      return { name: `${one.group}_${one.part}_rows`, role: 'rows', type: 'float32', shape: [], ...one };
    }),
  };
  const model = createBundleModel({
    manifestBytes: Buffer.from(JSON.stringify(manifest)),
    itemIds: JSON.parse(readFileSync(`${TARGET}/items.json`, 'utf8')).ids,
  });
  const run = async (_: string, feeds: Tensors): Promise<Tensors> =>
    Object.fromEntries(
      Object.entries(feeds).map(([name, { data }]) => {
        const rows = Float32Array.from(data as BigInt64Array, Number);
        return [`${name}_rows`, { type: 'float32', data: rows, shape: [rows.length, 1] }];
      }),
    );
  return { model, graphs: { run } };
}

it.each([
  ['history', [3, 255], [8]],
  ['codes', [1], [0, 255]],
  ['', [3], [4]], // the first group
])('gathers the slots of group "%s" from that group alone', async (group, keySlots, valueSlots) => {
  const query = { group, keySlots: Uint32Array.from(keySlots), valueSlots: Uint32Array.from(valueSlots) };
  const limits = { deadlineMs: Date.now() + 1_000 };
  const { keyRows, valueRows } = await gatherRows(twoGroups(), query, limits);
  expect([[...keyRows], [...valueRows]]).toEqual([keySlots, valueSlots]);
});
