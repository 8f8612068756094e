import type { BundleModel } from '../bundle/bundle-model.js';
import type { Clustering } from '../bundle/clustering.js';
import { type ClusterInput, isClusterInput, type Manifest, type PoolPart } from '../bundle/manifest-schema.js';
import { CkvError } from '../errors.js';
import { createSimdAdder, type SimdAdder, simdBytes } from './row-sums.js';

/** Whole pool parts: those whose rows the clusterings of a rank graph add up. */
export interface PoolTables {
  readonly parts: readonly PoolPart[];
  /** Returns the rows of a part, one per slot. Throws a `bug` for a part that is not among `parts`. */
  table(part: PoolPart): Float32Array; // [slots * width]
  /** Adds the rows up, from tables in its memory. Undefined if the tables are elsewhere. */
  readonly simd: SimdAdder | undefined;
}

/**
 * Creates tables of zeros for the pool parts that the clusterings of the rank graph add up.
 * @returns undefined if the rank graph has no clusterings
 */
export function createPoolTables(model: BundleModel): PoolTables | undefined {
  const { manifest } = model;
  const inputs = manifest.graphs.rank.inputs.filter(isClusterInput);
  const parts = partsOf(inputs.map((input) => model.clustering(input.clustering)));
  if (parts.length === 0) return undefined;
  const lengths = parts.map(({ group, part }) => {
    const slots = poolOf(manifest, group)?.slots ?? 0;
    return slots * poolWidth(manifest, { group, part });
  });
  const tableBytes = lengths.reduce((sum, length) => sum + simdBytes(length), 0);
  const arrayBytes = Math.max(...inputs.map((input) => inputBytes(model, input)));
  const simd = createSimdAdder(tableBytes + arrayBytes);
  const tables = lengths.map((length) => simd?.createTable(length) ?? new Float32Array(length));
  return {
    parts,
    table({ group, part }) {
      const table = tables[parts.findIndex((one) => one.group === group && one.part === part)];
      if (!table) throw new CkvError('bug', `the ${part} rows of group ${group} were not read`);
      return table;
    },
    simd,
  };
}

/** Returns the width of a part's rows; 0 if the bundle has no such part. */
export function poolWidth(manifest: Manifest, { group, part }: PoolPart): number {
  const pool = poolOf(manifest, group);
  return (part === 'key' ? pool?.keyWidth : pool?.valueWidth) ?? 0;
}

function poolOf({ groups }: Manifest, group: string) {
  return groups.find(({ name }) => name === group)?.pool;
}

/** Returns the bytes of the arrays that sums over a history take in a {@link SimdAdder}. */
export function sumsBytes({ terms, width }: Clustering, positions: number, sums: number): number {
  const rowLists = terms.reduce((count, { scale }) => count + (scale ? 2 : 1), 0);
  return rowLists * simdBytes(positions) + simdBytes(sums) + simdBytes(2 * sums * width);
}

/** Returns the bytes of the arrays that an input takes for the longest history. */
function inputBytes(model: BundleModel, input: ClusterInput): number {
  const clustering = model.clustering(input.clustering);
  const { maxPositions } = model.manifest;
  if (input.role !== 'position_embeddings') {
    return sumsBytes(clustering, maxPositions, Math.min(clustering.clusters, maxPositions));
  }
  const positions = Math.min(input.last ?? maxPositions, maxPositions);
  return sumsBytes(clustering, positions, positions);
}

function partsOf(clusterings: readonly Clustering[]): PoolPart[] {
  const parts = clusterings.flatMap(({ terms }) =>
    terms.flatMap(({ rows, scale }) => (scale ? [rows, scale.rows] : [rows])),
  );
  return [...new Map(parts.map((part) => [`${part.group}.${part.part}`, part])).values()];
}
