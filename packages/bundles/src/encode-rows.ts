import { encodeBatchLimit, encodeFeeds, type Interaction, newestRows, packRows } from '@collectivekv/domain';
import type { RunLimits } from '@collectivekv/engine';
import type { RunnableBundle } from './loaded-bundle.js';

/** Options of {@link encodeRows}. */
export interface EncodeOptions {
  /** The user's rows, oldest first, for a bundle that encodes with history; default none. */
  readonly history?: Uint8Array | undefined;
  readonly limits?: RunLimits;
}

/**
 * Encodes interactions to record rows.
 * @param interactions of any users; if the bundle encodes with history, of one user and in order
 * @returns one row for each interaction, `strideBytes` long, in their order. The rows do not depend on how a user's
 * interactions are divided into calls, if each call gets the rows before it as history. Only rounding may differ,
 * because runs differ in shape
 */
export async function encodeRows(
  { model, graphs }: RunnableBundle,
  interactions: readonly Interaction[],
  { history = new Uint8Array(0), limits = {} }: EncodeOptions = {},
): Promise<Uint8Array> {
  const { layout, manifest } = model;
  const { strideBytes } = layout;
  const rows = new Uint8Array(history.length + interactions.length * strideBytes); // [history + interactions, stride]
  rows.set(history);
  for (let done = 0; done < interactions.length; ) {
    const end = history.length + done * strideBytes;
    const before = newestRows(layout, rows.subarray(0, end), manifest.maxPositions);
    const limit = encodeBatchLimit(model, before.length / strideBytes);
    const batch = interactions.slice(done, done + limit);
    const outputs = await graphs.run('encode', encodeFeeds(model, batch, before), limits);
    rows.set(packRows(model, outputs, batch), end);
    done += batch.length;
  }
  return rows.subarray(history.length);
}
