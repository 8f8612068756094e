// A child process that runs the rank graphs in a plain loop, with nothing around them: the ceiling of the service.
// Fork it with the bundle's folder; send a BareRequest, get the milliseconds of every run.
import { join } from 'node:path';
import { openBundle } from '@collectivekv/bundles';
import {
  assembleRank,
  assembleRankKv,
  type GatheredRows,
  slotHistogram,
  type Tensor,
  type Tensors,
} from '@collectivekv/domain';
import * as ort from 'onnxruntime-node';
import { candidatesOf, randomRows } from './workload.js';

/** What to run. */
export interface BareRequest {
  readonly graph: 'rank' | 'rankKv';
  readonly positions: number;
  readonly candidates: number;
  readonly runs: number;
}

const [, , dir = ''] = process.argv;
const { model } = await openBundle(dir);
const sessions = new Map<string, ort.InferenceSession>();
// As the service's workers run it.
const options: ort.InferenceSession.SessionOptions = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  enableMemPattern: false,
  extra: {
    session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } },
    optimization: { disable_specified_optimizers: 'MatmulTransposeFusion' },
  },
};
for (const graph of ['rank', 'rankKv'] as const) {
  sessions.set(graph, await ort.InferenceSession.create(join(dir, model.manifest.graphs[graph].file), options));
}

process.on('message', async (request: BareRequest) => {
  const session = sessions.get(request.graph);
  if (!session) throw new Error(`no graph ${request.graph}`);
  const feeds = feedsOf(request);
  const times: number[] = [];
  for (let run = 0; run < request.runs; run++) {
    const startedMs = performance.now();
    await session.run(feeds);
    times.push(performance.now() - startedMs);
  }
  process.send?.(times);
});
process.on('disconnect', () => process.exit());
process.send?.('ready');

function feedsOf({ graph, positions, candidates: count }: BareRequest): Record<string, ort.Tensor> {
  const rows = randomRows(model, positions, positions);
  const { candidates } = candidatesOf(model, count, 7);
  const feeds: Tensors =
    graph === 'rank' ? assembleRank(model, rows, candidates) : assembleRankKv(model, rows, zeroRows(rows), candidates);
  const toOrt = ({ type, data, shape }: Tensor) => new ort.Tensor(type, data as ort.Tensor.DataType, shape as number[]);
  return Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor)]));
}

/** Pool rows of the slots visited; their values do not matter to the time. */
function zeroRows(rows: Uint8Array): Map<string, GatheredRows> {
  return new Map(
    model.manifest.groups.map(({ name, pool, key, value }) => {
      const keySlots = key.route ? slotHistogram(model, rows, key.route).slots : new Int32Array(0);
      const valueSlots = value.route ? slotHistogram(model, rows, value.route).slots : new Int32Array(0);
      const keyRows = new Float32Array(keySlots.length * pool.keyWidth);
      return [
        name,
        { keySlots, keyRows, valueSlots, valueRows: new Float32Array(valueSlots.length * pool.valueWidth) },
      ];
    }),
  );
}
