// A child process that runs the rank graphs in a plain loop: the upper limit of what a service can reach. Fork it with
// the bundle's folder. It answers each BareRequest with a BareAnswer.
import { join } from 'node:path';
import { openBundle, readPoolTables } from '@collectivekv/bundles';
import { assembleRank, assembleRankKv, type RequiredGraphName, type Tensor, type Tensors } from '@collectivekv/domain';
import { sessionOptions } from '@collectivekv/engine';
import * as ort from 'onnxruntime-node';
import { gatheredRows } from './gathered-rows.js';
import { candidatesOf } from './workload.js';

/** Which graph to run, and on what. The histories take turns. */
export interface BareRequest {
  readonly graph: 'rank' | 'rankKv';
  readonly histories: readonly Uint8Array[];
  readonly candidates: number;
  readonly runs: number;
  /** Time limit of the timed runs, ms. At least three runs are made. */
  readonly budgetMs: number;
  /** Number of runs before the timed runs. */
  readonly settleRuns: number;
}

/** The times and scores of a request's runs. */
export interface BareAnswer {
  /** Time of each run, ms. */
  readonly times: number[];
  /** Time of all runs together, ms. */
  readonly elapsedMs: number;
  /** Processor time of all runs together, ms. */
  readonly processorMs: number;
  /** Of the first history. */
  readonly scores: Float32Array; // [candidates]
}

const LEAST_RUNS = 3;

// The options of ranking's workers.
const options = sessionOptions({ provider: 'cpu', deviceIndex: 0, threadsPerWorker: 1 });
const [, , dir = ''] = process.argv;
const { model } = await openBundle(dir);
const { graphs } = model.manifest;
const open = (graph: RequiredGraphName) => ort.InferenceSession.create(join(dir, graphs[graph].file), options);
const sessions = { rank: await open('rank'), rankKv: await open('rankKv'), gather: await open('gather') };

const gather = async (feeds: Tensors) => fromOrt(await sessions.gather.run(ortFeeds(feeds)));
const tables = await readPoolTables(model, gather);

process.on('message', async (request: BareRequest) => {
  const session = sessions[request.graph];
  const feeds: Record<string, ort.Tensor>[] = [];
  for (const rows of request.histories) feeds.push(ortFeeds(await feedsOf(request, rows)));
  const run = (turn: number) => session.run(feeds[turn % feeds.length] ?? {});
  const times: number[] = [];
  const { [graphs[request.graph].outputs[0]?.name ?? '']: scores } = await run(0);
  for (let i = 0; i < request.settleRuns; i++) await run(i);
  const used = process.cpuUsage();
  const begunMs = performance.now();
  while (times.length < request.runs) {
    const startedMs = performance.now();
    if (times.length >= LEAST_RUNS && startedMs - begunMs > request.budgetMs) break;
    await run(times.length);
    times.push(performance.now() - startedMs);
  }
  const elapsedMs = performance.now() - begunMs;
  const { user, system } = process.cpuUsage(used);
  const processorMs = (user + system) / 1_000;
  process.send?.({ times, elapsedMs, processorMs, scores: scores?.data as Float32Array } satisfies BareAnswer);
});
process.on('disconnect', () => process.exit());
process.send?.('ready');

async function feedsOf({ graph, candidates: count }: BareRequest, rows: Uint8Array): Promise<Tensors> {
  const { candidates } = candidatesOf(model, count);
  if (graph === 'rank') return assembleRank(model, rows, candidates, tables);
  return assembleRankKv(model, rows, await gatheredRows(model, rows, gather), candidates);
}

function ortFeeds(feeds: Tensors): Record<string, ort.Tensor> {
  const toOrt = ({ type, data, shape }: Tensor) => new ort.Tensor(type, data as ort.Tensor.DataType, shape as number[]);
  return Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor)]));
}

function fromOrt(outputs: ort.InferenceSession.OnnxValueMapType): Tensors {
  const fromOne = ({ type, data, dims }: ort.Tensor) => ({ type, data, shape: dims }) as Tensor;
  return Object.fromEntries(Object.entries(outputs).map(([name, output]) => [name, fromOne(output as ort.Tensor)]));
}
