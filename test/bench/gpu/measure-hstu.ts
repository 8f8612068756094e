import { join } from 'node:path';
import { openBundle } from '@collectivekv/bundles';
import { assembleRank, assembleRankKv, type Tensors } from '@collectivekv/domain';
import { gatheredRows } from '../gathered-rows.js';
import { candidatesOf, randomRows } from '../workload.js';
import { copyOf, type Device, openDevice } from './device.js';
import { TOLERANCE } from './gpu-arms.js';
import { addTimes, batchParams, type GpuBench } from './gpu-bench.js';
import { largestDifference } from './reference.js';
import { timeRuns } from './time-runs.js';

/** The graphs of the arms, and what each reads. */
const ARMS = [
  { arm: 'hstu_gathered', graph: 'rank' },
  { arm: 'hstu_full_float32', graph: 'rankKv' },
] as const;

/**
 * Times layers of HSTU on a batch, whose users run one after the other: from routes, and from keys and values of every
 * layer. Both must give the first user the scores of the CPU.
 */
export async function measureHstu(bench: GpuBench): Promise<void> {
  const { device, model, options } = bench;
  const shape = options.hstu;
  const bundle = await openBundle(join(model.dir, 'hstu'));
  const { graphs } = bundle.model.manifest;
  const path = (graph: 'rank' | 'rankKv' | 'gather') => join(bundle.dir, graphs[graph].file);
  const loaded = await device.load({ rank: path('rank'), rankKv: path('rankKv'), gather: path('gather') });
  const { candidates } = candidatesOf(bundle.model, shape.candidates);
  const feeds: Record<'rank' | 'rankKv', Tensors[]> = { rank: [], rankKv: [] };
  for (let user = 0; user < shape.users; user++) {
    const rows = randomRows(bundle.model, shape.positions, user + 1);
    const gathered = await gatheredRows(bundle.model, rows, (slots) => loaded.run('gather', slots));
    feeds.rank.push(assembleRank(bundle.model, rows, candidates));
    feeds.rankKv.push(assembleRankKv(bundle.model, rows, gathered, candidates));
  }
  const wanted = await scoresOnCpu(path('rank'), feeds.rank[0] ?? {});
  for (const { arm, graph } of ARMS) {
    const runs = await timeRuns(
      device,
      options.repeats,
      () => feeds[graph].map(copyOf),
      (inputs) => Promise.all(inputs.map((input) => loaded.run(graph, input))),
    );
    const difference = largestDifference(scoresOf(runs.answer[0]), wanted);
    if (!(difference <= TOLERANCE.float32)) throw new Error(`${arm}: scores differ by ${difference}`);
    const params = batchParams('onnxruntime-node', arm, shape);
    addTimes(bench, params, runs);
    bench.add('difference', params, difference);
  }
  await loaded.close();
}

async function scoresOnCpu(path: string, feeds: Tensors): Promise<Float32Array> {
  const device: Device = await openDevice({ provider: 'cpu', threads: 1 });
  const graphs = await device.load({ rank: path });
  const scores = scoresOf(await graphs.run('rank', copyOf(feeds)));
  await device.close();
  return scores;
}

const scoresOf = (outputs: Tensors | undefined) => outputs?.scores?.data as Float32Array;
