import { CkvError } from '../errors.js';
import type { ClusteringSpec, Manifest } from './manifest-schema.js';

/** A clustering with its cluster map. */
export interface Clustering extends ClusteringSpec {
  /** The cluster of each slot of the field `by.field`. Undefined if a slot is its own cluster. */
  readonly clusterOf: Uint8Array | Uint16Array | undefined; // [slots]
}

/**
 * Creates the clusterings of a bundle.
 * @param maps bytes of the cluster maps by path: one uint8 per slot for up to 256 clusters, else one uint16,
 * little-endian
 * @throws bundle_invalid for a map with a cluster beyond the clustering
 */
export function createClusterings({ clusterings = [] }: Manifest, maps: ReadonlyMap<string, Uint8Array>): Clustering[] {
  return clusterings.map((spec) => ({ ...spec, clusterOf: clusterMap(spec, maps) }));
}

function clusterMap({ name, by, clusters }: ClusteringSpec, maps: ReadonlyMap<string, Uint8Array>) {
  if (by.map === undefined) return undefined;
  const bytes = maps.get(by.map);
  if (!bytes) throw new CkvError('bug', `the cluster map ${by.map} was not read`);
  const clusterOf = clusters <= 256 ? bytes : uint16From(bytes);
  for (let slot = 0; slot < clusterOf.length; slot++) {
    const cluster = clusterOf[slot] as number;
    if (cluster < clusters) continue;
    const problem = `${by.map} puts slot ${slot} into cluster ${cluster}, there are ${clusters}`;
    throw new CkvError('bundle_invalid', `clusterings.${name}.by.map: ${problem}; export the bundle again`);
  }
  return clusterOf;
}

function uint16From(bytes: Uint8Array): Uint16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new Uint16Array(bytes.length / 2).map((_, i) => view.getUint16(2 * i, true));
}
