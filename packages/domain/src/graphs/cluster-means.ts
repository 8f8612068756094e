import type { BundleModel } from '../bundle/bundle-model.js';
import type { ClusteredField, Clustering } from '../bundle/clustering.js';
import { embeddingMeans, type RoutesBy, type RowSource, readRoutes } from './embedding-means.js';
import { placesAmongDistinct } from './places.js';

/** Counts and mean position embeddings of the clusters that a history visits, clusters ascending. */
export interface ClusterMeans {
  /** Positions per visited cluster. */
  readonly counts: Float32Array; // [visited]
  readonly means: Float32Array; // [visited * width]
  readonly width: number;
}

/**
 * Computes the counts and the mean position embeddings of a history's clusters.
 * @param rows the history, rows of strideBytes. Its order does not matter
 * @throws record_corrupt for a route beyond the pool
 */
export function clusterMeans(
  { layout }: BundleModel,
  rows: Uint8Array,
  clustering: Clustering,
  source: RowSource,
): ClusterMeans {
  const { by, clusters, width } = clustering;
  const routesBy = readRoutes(layout, rows);
  const { counts, places, ends } = sortByCluster(clustersOf(by, routesBy, rows.length / layout.strideBytes), clusters);
  const means = embeddingMeans(clustering, routesBy, { places, ends }, source);
  return { counts, means, width };
}

/**
 * Returns for each position the place of its cluster among the visited clusters, as {@link clusterMeans} lists them.
 * @param rows the history, oldest first, rows of strideBytes
 * @throws record_corrupt for a route beyond the pool
 */
export function clusterPlaces({ layout }: BundleModel, rows: Uint8Array, { by }: Clustering): Int32Array {
  return placesAmongDistinct(clustersOf(by, readRoutes(layout, rows), rows.length / layout.strideBytes));
}

/** Returns the cluster of each position: the number whose digits are the clusters of its fields' slots. */
function clustersOf(by: readonly ClusteredField[], routesBy: RoutesBy, positionCount: number): Int32Array {
  const found = new Int32Array(positionCount);
  for (const { field, clusters, clusterOf } of by) {
    const slots = routesBy(field);
    for (let i = 0; i < found.length; i++) {
      const slot = slots[i] as number;
      found[i] = (found[i] as number) * clusters + (clusterOf ? (clusterOf[slot] as number) : slot);
    }
  }
  return found;
}

/**
 * Counts of the clusters of the history at hand, then the next place of each. All 0 between calls, so that no call has
 * to clear the entries of a large clustering.
 */
let clusterScratch = new Int32Array(0);

/**
 * Counts clusters and finds each position's place if positions are sorted by cluster.
 * @param places the cluster of each position; replaced by the places // [positions]
 */
function sortByCluster(places: Int32Array, clusters: number) {
  if (clusterScratch.length < clusters) clusterScratch = new Int32Array(clusters);
  const next = clusterScratch;
  let visitedCount = 0;
  for (let i = 0; i < places.length; i++) {
    const cluster = places[i] as number;
    const count = next[cluster] as number;
    if (count === 0) visitedCount++;
    next[cluster] = count + 1;
  }
  const visited = new Int32Array(visitedCount);
  const counts = new Float32Array(visitedCount);
  const ends = new Int32Array(visitedCount);
  for (let cluster = 0, to = 0, end = 0; to < visitedCount; cluster++) {
    const count = next[cluster] as number;
    if (count === 0) continue;
    next[cluster] = end;
    end += count;
    visited[to] = cluster;
    ends[to] = end;
    counts[to++] = count;
  }
  for (let i = 0; i < places.length; i++) {
    const cluster = places[i] as number;
    const place = next[cluster] as number;
    next[cluster] = place + 1;
    places[i] = place;
  }
  for (const cluster of visited) next[cluster] = 0;
  return { counts, places, ends };
}
