import type { BundleModel } from '../bundle/bundle-model.js';
import type { Clustering } from '../bundle/clustering.js';
import { embeddingMeans, type RowSource, readRoutes } from './embedding-means.js';

/**
 * Computes the embedding of every position: the sum of the clustering's terms.
 * @param rows the positions, oldest first, rows of strideBytes
 * @returns one row per position, in the order of `rows` // [positions * width]
 * @throws record_corrupt for a route beyond the pool
 */
export function positionEmbeddings(
  { layout }: BundleModel,
  rows: Uint8Array,
  clustering: Clustering,
  source: RowSource,
): Float32Array {
  const positionCount = rows.length / layout.strideBytes;
  const places = Int32Array.from({ length: positionCount }, (_, i) => i);
  const ends = places.map((place) => place + 1); // each position is a sum of its own
  return embeddingMeans(clustering, readRoutes(layout, rows), { places, ends }, source);
}
