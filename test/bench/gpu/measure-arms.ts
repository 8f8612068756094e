import { closeSync, copyFileSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CkvError } from '@collectivekv/domain';
import type { GraphSet } from '@collectivekv/engine';
import { type Batch, type BatchShape, drawBatch } from './batch.js';
import { copyOf } from './device.js';
import { type GpuArm, keyValues, openArms, TOLERANCE } from './gpu-arms.js';
import { addTimes, batchParams, type GpuBench } from './gpu-bench.js';
import { CHECKED_SHAPE } from './gpu-options.js';
import { largestDifference, openReference } from './reference.js';
import { type Repeats, timeRuns } from './time-runs.js';

/** Histories above this size are not measured: full keys and values of 512 users with 10,000 positions in float32. */
const MAX_HISTORY_BYTES = 6e9;
const ONCE: Repeats = { warmUps: 0, most: 1, budgetMs: 0 };
const WRITE_BYTES = 2 ** 30;

/** A batch, and the scores that every arm must give. */
interface Scored {
  readonly batch: Batch;
  readonly scores: Float32Array;
}

/** Compares all arms with the CPU on a small batch, and then times each on every batch. Throws if scores differ. */
export async function measureArms(bench: GpuBench): Promise<void> {
  const { model, options } = bench;
  const arms = await openArms(model);
  const reference = await openReference(model);
  const scored = async (shape: BatchShape): Promise<Scored> => {
    const batch = drawBatch(model, shape);
    return { batch, scores: await reference.scores(batch) };
  };
  try {
    const checked = await scored(CHECKED_SHAPE);
    for (const arm of arms) await measureArm(bench, arm, [checked], ONCE);
    bench.progress('all arms score as the CPU does');
    const all: Scored[] = [];
    for (const shape of options.shapes) all.push(await scored(shape));
    for (const arm of arms) {
      bench.progress(arm.name);
      await measureArm(bench, arm, all, options.repeats);
      bench.save();
    }
  } finally {
    await reference.close();
  }
}

/** Runs an arm on batches. Its graph is loaded once, or if it holds keys and values, for each batch. */
async function measureArm(bench: GpuBench, arm: GpuArm, all: readonly Scored[], repeats: Repeats): Promise<void> {
  const fitting = all.filter(({ batch }) => arm.historyBytes(batch) <= MAX_HISTORY_BYTES);
  if (fitting.length < all.length)
    bench.note(`${arm.name}: histories above ${MAX_HISTORY_BYTES / 1e9} GB are left out`);
  let loaded: GraphSet | undefined;
  for (const one of fitting) {
    try {
      if (arm.resident || !loaded) {
        await loaded?.close();
        const path = arm.resident ? withRows(bench, arm, one.batch) : arm.graph(one.batch);
        loaded = await bench.device.load({ [arm.name]: path });
      }
      await measureBatch(bench, arm, loaded, one, repeats);
    } catch (error) {
      if (!(error instanceof CkvError) || repeats === ONCE) throw error; // the scores differ
      const { users, positions, candidates } = one.batch;
      bench.note(`${arm.name} ${users} ${positions} ${candidates} does not run: ${error.message.split('\n')[0]}`);
    }
  }
  await loaded?.close();
}

async function measureBatch(
  bench: GpuBench,
  arm: GpuArm,
  graphs: GraphSet,
  { batch, scores }: Scored,
  repeats: Repeats,
): Promise<void> {
  const feeds = arm.feeds(batch);
  const params = batchParams('onnxruntime-node', arm.name, batch);
  const runs = await timeRuns(
    bench.device,
    repeats,
    () => copyOf(feeds),
    (input) => graphs.run(arm.name, input),
  );
  const difference = largestDifference(runs.answer.scores?.data as Float32Array, scores);
  if (!(difference <= TOLERANCE[arm.type])) {
    const where = Object.values(params).join(' ');
    throw new Error(`${where}: scores differ by ${difference}, the limit is ${TOLERANCE[arm.type]}`);
  }
  if (repeats === ONCE) return;
  addTimes(bench, params, runs);
  bench.add('difference', params, difference);
  bench.add('history_bytes', params, arm.historyBytes(batch), 'B');
}

/** Writes keys and values beside a copy of the arm's graph, and returns the copy's path. */
function withRows({ model, dir }: GpuBench, arm: GpuArm, batch: Batch): string {
  const source = arm.graph(batch);
  const folder = join(dir, 'resident');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const file of readdirSync(dirname(source))) {
    if (file === basename(source) || file.endsWith('.bin'))
      copyFileSync(join(dirname(source), file), join(folder, file));
  }
  const { key, value } = keyValues(model, batch, arm.type);
  const into = openSync(join(folder, 'resident.bin'), 'w');
  for (const { buffer, byteOffset, byteLength } of [key.data, value.data]) {
    for (let at = 0; at < byteLength; at += WRITE_BYTES) {
      writeSync(into, new Uint8Array(buffer, byteOffset + at, Math.min(WRITE_BYTES, byteLength - at)));
    }
  }
  closeSync(into);
  return join(folder, basename(source));
}
