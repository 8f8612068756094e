import { join } from 'node:path';
import { openBundle, readGolden } from '@collectivekv/bundles';
import { copyOf } from './device.js';
import { addTimes, batchParams, type GpuBench } from './gpu-bench.js';
import { largestDifference } from './reference.js';
import { timeRuns } from './time-runs.js';

const DEMO = 'bundles/demo';

/**
 * Compares the demo's golden scores with those of the device, and times its rank graph for one user: on the golden case
 * with the longest history.
 */
export async function measureDemo(bench: GpuBench): Promise<void> {
  const { device, options } = bench;
  const bundle = await openBundle(DEMO);
  const { rank, rankKv } = bundle.model.manifest.graphs;
  const loaded = await device.load({ rank: join(DEMO, rank.file), rankKv: join(DEMO, rankKv.file) });
  const cases = (await readGolden(bundle)).filter(({ graph }) => graph === 'rank' || graph === 'rankKv');
  let difference = 0;
  for (const { graph, inputs, outputs } of cases) {
    const { scores } = await loaded.run(graph, copyOf(inputs));
    difference = Math.max(
      difference,
      largestDifference(scores?.data as Float32Array, outputs.scores?.data as Float32Array),
    );
  }
  const { precision } = options;
  bench.add('golden_difference', { path: 'onnxruntime-node', arm: 'demo', precision }, difference);
  const positionsOf = (name: string) => Number.parseInt(name, 10); // such as `37 positions, 200 candidates`
  const [longest] = cases
    .filter(({ graph }) => graph === 'rank')
    .sort((a, b) => positionsOf(b.name) - positionsOf(a.name));
  if (!longest) throw new Error(`${DEMO} has no golden case of rank; make the bundle again`);
  const runs = await timeRuns(
    device,
    options.repeats,
    () => copyOf(longest.inputs),
    (feeds) => loaded.run('rank', feeds),
  );
  const candidates = longest.outputs.scores?.data.length ?? 0;
  const shape = { users: 1, positions: positionsOf(longest.name), candidates };
  addTimes(bench, batchParams('onnxruntime-node', 'demo', shape), runs);
  await loaded.close();
}
