import { join } from 'node:path';
import { type OpenBundle, openBundle } from '@collectivekv/bundles';
import {
  createUserBatches,
  exactLength,
  float32,
  type GraphInput,
  integers,
  integerType,
  numberToFloat16,
  type Tensor,
  type Tensors,
} from '@collectivekv/domain';
import { type Batch, type BatchShape, visitedSlots } from './batch.js';
import type { GpuModel } from './gpu-model.js';

/** A way to bring the histories of a batch to a graph. All score the same. */
export interface GpuArm {
  readonly name: string;
  /** Type in which attention computes. */
  readonly type: 'float32' | 'float16';
  /** True: keys and values lie in a file beside the graph, so that they are on the device before a run. */
  readonly resident: boolean;
  /** Bytes of the histories of a batch, as they are handed to the runtime. */
  historyBytes(shape: BatchShape): number;
  /** Path of the graph. Of a resident arm, its file is missing there. */
  graph(shape: BatchShape): string;
  /** Returns the inputs of a run. */
  feeds(batch: Batch): Tensors;
}

/** Largest difference from the scores of the CPU, by the type of the attention. Scores lie between 0 and 1. */
export const TOLERANCE = { float32: 1e-4, float16: 1e-3 } as const;

/** Keys and values of a batch. A user's rows are the positions and, behind them, the null position. */
export interface KeyValues {
  readonly key: Tensor; // [B, N + 1, D]
  readonly value: Tensor; // [B, N + 1, D]
}

/** Opens the arms of a model, as far as it has their graphs. */
export async function openArms(model: GpuModel): Promise<GpuArm[]> {
  const batched = [
    batchArm(model, 'collapsed', await openBundle(join(model.dir, 'pool'))),
    batchArm(model, 'clusters', await openBundle(join(model.dir, 'factored'))),
  ];
  const perPosition = (['float32', 'float16'] as const).flatMap((type) => [
    fullArm(model, type),
    residentArm(model, type),
    gatheredArm(model, type),
  ]);
  return [...perPosition, ...batched];
}

/** Returns the inputs of a bundle's rank graph for one user. */
export function rankFeeds(model: GpuModel, inputs: readonly GraphInput[], batch: Batch, user: number): Tensors {
  const { slots, counts } = visitedSlots(batch, user);
  const entries = inputs.map((input): [string, Tensor] => {
    switch (input.role) {
      case 'candidate_item': {
        const items = batch.items.subarray(user * batch.candidates, (user + 1) * batch.candidates);
        return [input.name, integers(integerType(input.type), items, [items.length])];
      }
      case 'distinct_slots':
        return [input.name, integers(integerType(input.type), slots, [slots.length])];
      case 'slot_counts':
      case 'cluster_counts':
        return [input.name, float32(Float32Array.from(counts), [counts.length])];
      case 'cluster_means': {
        const means = rowsAt(
          model.poolEmbedding,
          slots,
          model.embedding,
          new Float32Array(slots.length * model.embedding),
        );
        return [input.name, float32(means, [slots.length, model.embedding])];
      }
      default:
        throw new Error(`the arms have no value for input ${input.name} with role ${input.role}`);
    }
  });
  return Object.fromEntries(entries);
}

/** Returns the keys and values of every position. */
export function keyValues(model: GpuModel, batch: Batch, type: GpuArm['type']): KeyValues {
  const { users, positions } = batch;
  const rows = new Uint16Array(users * (positions + 1)).fill(model.slots);
  for (let user = 0; user < users; user++) {
    rows.set(batch.routes.subarray(user * positions, (user + 1) * positions), user * (positions + 1));
  }
  const shape = [users, positions + 1, model.dModel];
  const tensor = (table: Float32Array): Tensor => {
    const size = rows.length * model.dModel;
    if (type === 'float32') return float32(rowsAt(table, rows, model.dModel, new Float32Array(size)), shape);
    const half = Uint16Array.from(table, numberToFloat16);
    return { type, data: rowsAt(half, rows, model.dModel, new Uint16Array(size)), shape };
  };
  return { key: tensor(model.keys), value: tensor(model.values) };
}

function rowsAt<Elements extends Float32Array | Uint16Array>(
  table: Elements,
  rows: ArrayLike<number>,
  width: number,
  into: Elements,
): Elements {
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] ?? 0;
    into.set(table.subarray(row * width, (row + 1) * width), i * width);
  }
  return into;
}

const candidateItem = ({ items, users, candidates }: Batch) => integers('int64', items, [users, candidates]);
const keyValueBytes = ({ dModel }: GpuModel, type: GpuArm['type'], { users, positions }: BatchShape) =>
  2 * users * (positions + 1) * dModel * (type === 'float32' ? 4 : 2);

function fullArm(model: GpuModel, type: GpuArm['type']): GpuArm {
  return {
    name: `full_${type}`,
    type,
    resident: false,
    historyBytes: (shape) => keyValueBytes(model, type, shape),
    graph: () => join(model.dir, 'arms', `full_${type}.onnx`),
    feeds: (batch) => ({ candidate_item: candidateItem(batch), ...keyValues(model, batch, type) }),
  };
}

function residentArm(model: GpuModel, type: GpuArm['type']): GpuArm {
  return {
    name: `resident_${type}`,
    type,
    resident: true,
    historyBytes: (shape) => keyValueBytes(model, type, shape),
    graph: ({ users, positions }) => join(model.dir, 'arms', `resident_${type}_${users}x${positions}.onnx`),
    feeds: (batch) => ({ candidate_item: candidateItem(batch) }),
  };
}

function gatheredArm(model: GpuModel, type: GpuArm['type']): GpuArm {
  return {
    name: `gathered_${type}`,
    type,
    resident: false,
    historyBytes: ({ users, positions }) => 2 * users * positions,
    graph: () => join(model.dir, 'arms', `gathered_${type}.onnx`),
    feeds: (batch) => {
      const data = new Uint8Array(batch.routes.length * 2);
      batch.routes.forEach((route, i) => {
        const row = route + (i % model.repeats) * model.slots; // one of the rows with equal keys and values
        data[2 * i] = row & 0xff;
        data[2 * i + 1] = row >> 8;
      });
      const shape = [batch.users, batch.positions, 2];
      return { candidate_item: candidateItem(batch), route_bytes: { type: 'uint8', data, shape } };
    },
  };
}

/** An arm of a bundle's graph for batches of users. */
function batchArm(model: GpuModel, name: string, { dir, model: { manifest } }: OpenBundle): GpuArm {
  const { rank, rankBatch } = manifest.graphs;
  if (!rankBatch) throw new Error(`${dir} has no graph rankBatch; make it again with training/bench_gpu.py`);
  const batches = createUserBatches(rankBatch, {
    bucket: exactLength,
    mostUsers: Number.POSITIVE_INFINITY,
    mostPadding: Number.POSITIVE_INFINITY,
    mostCells: Number.POSITIVE_INFINITY,
  });
  const feedsOf = (batch: Batch) => {
    const users = Array.from({ length: batch.users }, (_, user) => rankFeeds(model, rank.inputs, batch, user));
    return batches.join(users);
  };
  const width = name === 'clusters' ? 4 * model.embedding : 8;
  return {
    name,
    type: 'float32',
    resident: false,
    historyBytes: ({ users, positions }) => users * Math.min(positions, model.slots) * (width + 4),
    graph: () => join(dir, rankBatch.file),
    feeds: feedsOf,
  };
}
