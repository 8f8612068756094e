import type { BundleModel } from '../bundle/bundle-model.js';
import { type GraphInput, isPositionInput, type KvGroup } from '../bundle/manifest-schema.js';
import { CkvError } from '../errors.js';
import { float32, integers, integerType, type Tensor, type Tensors } from '../tensor.js';
import { fieldTensor, positionTensor } from './positions.js';
import { routesOf } from './routes.js';
import { type SlotHistogram, slotHistogram } from './slot-histogram.js';

/** The candidates of a rank request: one index per candidate, one column per feature. */
export interface Candidates {
  readonly itemIndices: Int32Array; // [candidates]
  /** Candidate features by name. */
  readonly columns: Readonly<Record<string, Float32Array>>; // each [candidates]
  /** Context features by name. */
  readonly context: Readonly<Record<string, number>>;
}

/** Rows gathered from the pool for one KV group: one row per listed slot. */
export interface GatheredRows {
  readonly keySlots: Int32Array; // [keys]
  readonly keyRows: Float32Array; // [keys * keyWidth]
  readonly valueSlots: Int32Array; // [values]
  readonly valueRows: Float32Array; // [values * valueWidth]
}

/**
 * Fills the rank graph's inputs by role. The pool is inside the graph. If the graph attends over distinct slots, it
 * takes slots and counts. The scores stay exact: equal keys have equal softmax terms, so one term times its count is
 * their sum.
 * @param rows the history, oldest first, rows of strideBytes; empty for a cold user
 * @throws record_corrupt for a route beyond the pool
 */
export function assembleRank(model: BundleModel, rows: Uint8Array, candidates: Candidates): Tensors {
  const histograms = new Map<string, SlotHistogram>();
  const histogram = (field: string) => {
    const known = histograms.get(field);
    if (known) return known;
    const made = slotHistogram(model, rows, field);
    histograms.set(field, made);
    return made;
  };
  return fill(model.manifest.graphs.rank.inputs, (input) => {
    if (isPositionInput(input)) return positionTensor(model, rows, input);
    switch (input.role) {
      case 'distinct_slots': {
        const { slots } = histogram(input.field);
        return integers(integerType(input.type), slots, [slots.length]);
      }
      case 'slot_counts': {
        const { counts } = histogram(input.field);
        return float32(counts, [counts.length]);
      }
      default:
        return candidateTensor(input, candidates);
    }
  });
}

/**
 * Assembles K and V, one [pool row, user dims] per position, and fills the rank_kv graph's inputs with them.
 * @param gathered pool rows by group name. Must have every slot of the history
 * @throws record_corrupt for a route beyond the pool
 */
export function assembleRankKv(
  model: BundleModel,
  rows: Uint8Array,
  gathered: ReadonlyMap<string, GatheredRows>,
  candidates: Candidates,
): Tensors {
  return fill(model.manifest.graphs.rankKv.inputs, (input) => {
    if (isPositionInput(input)) return positionTensor(model, rows, input);
    if (input.role !== 'key' && input.role !== 'value') return candidateTensor(input, candidates);
    const group = model.manifest.groups.find((candidate) => candidate.name === input.group);
    const pool = gathered.get(input.group);
    if (!group || !pool) throw new CkvError('bug', `no rows gathered for group ${input.group}`);
    return assemblePart(model, rows, group, input.role, pool);
  });
}

function assemblePart(
  model: BundleModel,
  rows: Uint8Array,
  group: KvGroup,
  part: 'key' | 'value',
  pool: GatheredRows,
): Tensor {
  const { route, user } = group[part] ?? {};
  const userDims = user === undefined ? undefined : fieldTensor(model, rows, model.layout.field(user));
  if (route === undefined && userDims) return userDims;
  const [poolWidth, poolSlots, poolRows] =
    part === 'key'
      ? [group.pool.keyWidth, pool.keySlots, pool.keyRows]
      : [group.pool.valueWidth ?? 0, pool.valueSlots, pool.valueRows];
  const rowOfSlot = new Map(Array.from(poolSlots, (slot, row) => [slot, row]));
  const routes = routesOf(model.layout, rows, route ?? '');
  const userWidth = userDims?.shape[1] ?? 0;
  const userValues = userDims?.data ?? []; // [positions * userWidth]
  const width = poolWidth + userWidth;
  const assembled = new Float32Array(routes.length * width); // [positions * (poolWidth + userWidth)]
  routes.forEach((slot, i) => {
    const row = rowOfSlot.get(slot);
    if (row === undefined) throw new CkvError('bug', `slot ${slot} was not gathered`);
    assembled.set(poolRows.subarray(row * poolWidth, (row + 1) * poolWidth), i * width);
    for (let j = 0; j < userWidth; j++) assembled[i * width + poolWidth + j] = Number(userValues[i * userWidth + j]);
  });
  return float32(assembled, [routes.length, width]);
}

function candidateTensor(input: GraphInput, candidates: Candidates): Tensor {
  const count = candidates.itemIndices.length;
  if (input.role === 'candidate_item') return integers(integerType(input.type), candidates.itemIndices, [count]);
  if (input.role === 'candidate_feature') {
    const column = candidates.columns[input.feature]; // [candidates]
    if (column?.length !== count) throw new CkvError('bug', `no column ${input.feature} for ${count} candidates`);
    return float32(column.slice(), [count]);
  }
  if (input.role === 'context_feature') {
    const value = candidates.context[input.feature];
    if (value === undefined) throw new CkvError('bug', `no context feature ${input.feature}`);
    return float32(Float32Array.of(value), [1]);
  }
  throw new CkvError('bug', `input ${input.name} has the role ${input.role}, which no candidate fills`);
}

function fill(inputs: readonly GraphInput[], tensorFor: (input: GraphInput) => Tensor): Tensors {
  return Object.fromEntries(inputs.map((input) => [input.name, tensorFor(input)]));
}
