import type { Manifest } from './manifest-schema.js';

/**
 * Returns the bytes that a full KV cache takes for a position: keys and values in float32, of every attention layer.
 *
 * A clustering is one layer: its rows become keys and values in the rank graph. Any other KV group with wide rows is
 * one as well. A codebook has narrow rows, and is not a layer.
 */
export function fullKvBytes({ dModel, groups, clusterings = [] }: Manifest): number {
  const added = new Set(
    clusterings.flatMap(({ terms }) => terms.flatMap(({ rows, scale }) => [rows.group, scale?.rows.group])),
  );
  const wide = groups.filter(({ name, pool }) => 2 * pool.keyWidth > dModel && !added.has(name));
  return (wide.length + clusterings.length) * 2 * dModel * 4;
}
