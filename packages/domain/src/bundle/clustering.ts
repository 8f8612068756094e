import { CkvError } from '../errors.js';
import type { ClusteringSpec, Manifest } from './manifest-schema.js';

/** A clustering with its cluster maps. */
export interface Clustering extends Omit<ClusteringSpec, 'by'> {
  /** The number of clusters: the product of the numbers of `by`. */
  readonly clusters: number;
  /** The fields that give a position its cluster, the first as the most significant digit. */
  readonly by: readonly ClusteredField[];
}

/** One field of a clustering: the cluster of each of its slots. */
export interface ClusteredField {
  readonly field: string;
  readonly clusters: number;
  /** Undefined if a slot is its own cluster. */
  readonly clusterOf: Uint8Array | Uint16Array | undefined; // [slots]
}

/**
 * Creates the clusterings of a bundle.
 * @param maps bytes of the cluster maps by path: one uint8 per slot for up to 256 clusters, else one uint16,
 * little-endian
 * @throws bundle_invalid for a map with a cluster beyond the clustering
 */
export function createClusterings({ clusterings = [] }: Manifest, maps: ReadonlyMap<string, Uint8Array>): Clustering[] {
  return clusterings.map((spec) => ({
    ...spec,
    clusters: clusterCount(spec),
    by: spec.by.map(({ field, clusters, map }, i) => {
      const at = `clusterings.${spec.name}.by.${i}.map`;
      return { field, clusters, clusterOf: map === undefined ? undefined : clusterMap(map, clusters, at, maps) };
    }),
  }));
}

/** Returns the number of clusters of a clustering: one for each combination of its fields' clusters. */
export function clusterCount({ by }: Pick<ClusteringSpec, 'by'>): number {
  return by.reduce((product, { clusters }) => product * clusters, 1);
}

function clusterMap(path: string, clusters: number, at: string, maps: ReadonlyMap<string, Uint8Array>) {
  const bytes = maps.get(path);
  if (!bytes) throw new CkvError('bug', `the cluster map ${path} was not read`);
  const clusterOf = clusters <= 256 ? bytes : uint16From(bytes);
  for (let slot = 0; slot < clusterOf.length; slot++) {
    const cluster = clusterOf[slot] as number;
    if (cluster < clusters) continue;
    const problem = `${path} puts slot ${slot} into cluster ${cluster}, there are ${clusters}`;
    throw new CkvError('bundle_invalid', `${at}: ${problem}; export the bundle again`);
  }
  return clusterOf;
}

function uint16From(bytes: Uint8Array): Uint16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new Uint16Array(bytes.length / 2).map((_, i) => view.getUint16(2 * i, true));
}
