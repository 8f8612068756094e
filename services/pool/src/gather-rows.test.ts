import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadBundle } from '@collectivekv/bundles';
import { createBundleModel, type Tensors } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
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

it('gathers the slots of many users in one run of the graph', async () => {
  const runs: string[] = [];
  const engine = await createEngine({
    provider: 'cpu',
    workerCount: 1,
    threadsPerWorker: 1,
    queueLimit: 100,
    onRun: (graph) => runs.push(graph),
  });
  try {
    const bundle = await loadBundle(TARGET, engine, { graphs: ['gather'], verifyGolden: false });
    const limits = { deadlineMs: Number.POSITIVE_INFINITY };
    const gather = (slots: readonly number[]) =>
      gatherRows(bundle, { group: '', keySlots: Uint32Array.from(slots), valueSlots: Uint32Array.from(slots) }, limits);
    const users = Array.from({ length: 64 }, (_, user) => [user, (7 * user) % 256, 255 - user]);
    const together = await gather(users.flat());
    expect(runs).toEqual(['gather']);
    const apart = await Promise.all(users.map(gather));
    expect([...together.keyRows]).toEqual(apart.flatMap(({ keyRows }) => [...keyRows]));
    expect([...together.valueRows]).toEqual(apart.flatMap(({ valueRows }) => [...valueRows]));
  } finally {
    await engine.close();
  }
});
