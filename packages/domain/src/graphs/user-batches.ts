import type { GraphInput, GraphSpec } from '../bundle/manifest-schema.js';
import { float32, type Tensors } from '../tensor.js';
import { isPerCandidate } from './candidate-parts.js';
import { type Bucket, joinFeeds, splitScores } from './join-feeds.js';

/** The padded lengths of a rank run: its candidates, then the rows of each axis of its history. */
export type RunExtent = readonly number[];

/** Joins rank runs of several users to one run of the graph `rankBatch`. */
export interface UserBatches {
  readonly mostUsers: number;
  extentOf(feeds: Tensors): RunExtent;
  /** Returns the cells of a batch of these runs, with those of its padding. */
  cellCountOf(extents: readonly RunExtent[]): number;
  /**
   * Begins to choose the runs of a batch.
   * @param allows whether a batch may have so many cells. Default: as many as its limits allow
   */
  open(allows?: (cellCount: number) => boolean): OpenBatch;
  /** Returns the feeds of the graph `rankBatch`, which are copies. Throws as {@link joinFeeds} does. */
  join(feeds: readonly Tensors[]): Tensors;
  /**
   * Returns what the rank graph would answer for each user.
   * @param feeds those that were joined
   * @throws bug if the scores have another shape
   */
  split(outputs: Tensors, feeds: readonly Tensors[]): Tensors[];
}

/** A batch that is being put together. */
export interface OpenBatch {
  /** Adds a run if it fits, and returns whether it does. The first run always fits. */
  add(extent: RunExtent): boolean;
}

/** Limits of {@link createUserBatches}. */
export interface BatchLimits {
  readonly mostUsers: number;
  /** Pads the users, their candidates and the rows of their histories. */
  readonly bucket: Bucket;
  /** Most cells of a batch for each cell of its users alone. A cell is one candidate before one row of the history. */
  readonly mostPadding: number;
  /** Most cells of a batch, with those of its padding: they bound the memory of a run. */
  readonly mostCells: number;
}

/** Creates the batches of a graph `rankBatch`. */
export function createUserBatches(
  { inputs, outputs }: Pick<GraphSpec, 'inputs' | 'outputs'>,
  limits: BatchLimits,
): UserBatches {
  const { mostUsers, bucket } = limits;
  const scores = outputs[0]?.name ?? '';
  const axes = axesOf(inputs);
  const lengthOf = (feeds: Tensors, name: string | undefined) => feeds[name ?? '']?.shape[0] ?? 0;
  return {
    mostUsers,
    extentOf: (feeds) => axes.map((name) => bucket(lengthOf(feeds, name))),
    cellCountOf: (extents) => bucket(extents.length) * heldCellsOf(extents.reduce(longestOf, [])),
    open: (allows = () => true) => openBatch(limits, allows),
    join: (feeds) => joinFeeds(inputs, feeds, bucket),
    split(answer, feeds) {
      const counts = feeds.map((one) => lengthOf(one, axes[0]));
      return splitScores(answer[scores], counts).map((data) => ({ [scores]: float32(data, [data.length]) }));
    },
  };
}

/** Returns for each axis the name of an input that has it: first the candidates, then the axes of the history. */
function axesOf(inputs: readonly GraphInput[]): string[] {
  const byAxis = new Map<number | string | undefined, string>();
  for (const { name, role, shape } of inputs) {
    if (role !== 'row_count' && typeof shape[1] === 'string' && !byAxis.has(shape[1])) byAxis.set(shape[1], name);
  }
  const candidate = byAxis.get(inputs.find(isPerCandidate)?.shape[1]) ?? '';
  return [candidate, ...[...byAxis.values()].filter((name) => name !== candidate)];
}

function openBatch(
  { mostUsers, bucket, mostPadding, mostCells }: BatchLimits,
  allows: (cellCount: number) => boolean,
): OpenBatch {
  let longest: RunExtent = [];
  let userCount = 0;
  let ownCells = 0; // of the users without those of the others
  return {
    add(extent) {
      const padded = longestOf(longest, extent);
      const own = ownCells + cellsOf(extent);
      const users = userCount + 1;
      const cellCount = bucket(users) * heldCellsOf(padded);
      const fits =
        users <= mostUsers &&
        users * cellsOf(padded) <= mostPadding * own &&
        cellCount <= mostCells &&
        allows(cellCount);
      if (userCount > 0 && !fits) return false;
      [longest, userCount, ownCells] = [padded, users, own];
      return true;
    },
  };
}

/** Returns the length to which two runs pad each other along each axis. */
function longestOf(one: RunExtent, other: RunExtent): RunExtent {
  return other.map((length, axis) => Math.max(length, one[axis] ?? 0));
}

/** The cells of a user. The row beyond those of the history stands for the work that is done for each candidate. */
function cellsOf([candidates = 0, ...rows]: RunExtent): number {
  return candidates * rows.reduce((sum, count) => sum + count, 1);
}

/** The memory of a user's part, in cells: what the scorer holds for a candidate is about as much as 32 rows. */
function heldCellsOf(extent: RunExtent): number {
  const [candidates = 0] = extent;
  return cellsOf(extent) + 31 * candidates;
}
