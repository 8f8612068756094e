import { encodeBatchLimit, encodeFeeds, type Interaction, newestRows, packRows } from '@collectivekv/domain';
import type { RunLimits } from '@collectivekv/engine';
import type { RunnableBundle } from './load-bundle.js';

/** Options of {@link encodeRows}. */
export interface EncodeOptions {
  /** The user's rows, oldest first, where the bundle encodes with history; default none. */
  readonly history?: Uint8Array | undefined;
  readonly limits?: RunLimits;
}

/**
 * Encodes interactions to record rows.
 * @param interactions of any mix of users; of one user, in order, where the bundle encodes with history
 * @returns strideBytes a row, in the interactions' order. However a user's interactions are cut into calls, each with the
 * rows before it as history, the rows are the same but for the rounding of differently shaped runs
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
