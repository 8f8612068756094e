import type { GraphInput } from '../bundle/manifest-schema.js';
import { CkvError } from '../errors.js';
import { integers, type Tensor, type Tensors, zeros } from '../tensor.js';

/** Returns the length to which an axis of a batch is padded. It is no less than the given one, and grows with it. */
export type Bucket = (length: number) => number;

/** A bucket for each length: a batch is padded to its longest user, and no further. */
export const exactLength: Bucket = (length) => length;

/** A bucket for each power of two: there are few shapes of batches, so that each comes again. */
export const powerOfTwo: Bucket = (length) => 2 ** (32 - Math.clz32(Math.max(1, length) - 1));

/**
 * Joins the feeds of single rank runs to the feeds of one run for all. Each input has one more leading axis, the users.
 * Zeros fill up users that have less than the longest one, and the users up to their bucket. No axis is empty.
 * @param inputs those of the graph `rankBatch`
 * @throws bug if an input of a user is missing, or has another type or inner shape than that of the first user
 */
export function joinFeeds(inputs: readonly GraphInput[], feeds: readonly Tensors[], bucket: Bucket): Tensors {
  const userCount = bucket(feeds.length);
  return Object.fromEntries(
    inputs.map((input) => {
      if (input.role === 'row_count') return [input.name, rowCounts(inputs, input.axis, feeds, userCount)];
      const axis = input.shape[1];
      const length = typeof axis === 'number' ? axis : bucket(Math.max(1, ...lengthsOf(feeds, input.name)));
      return [input.name, joined(feeds, input.name, userCount, length)];
    }),
  );
}

/**
 * Splits the scores of a batch by users, and drops those of the padding.
 * @param scores float32 [users, candidates]
 * @param counts the candidates of each user
 * @throws bug if the scores have another type or shape
 */
export function splitScores(scores: Tensor | undefined, counts: readonly number[]): Float32Array[] {
  const [userCount = 0, candidates = 0] = scores?.shape ?? [];
  const holdsAll = userCount >= counts.length && counts.every((count) => count <= candidates);
  if (scores?.type !== 'float32' || scores.data.length !== userCount * candidates || !holdsAll) {
    throw new CkvError('bug', `the graph answered scores [${scores?.shape}] for ${counts.length} users`);
  }
  return counts.map((count, user) => scores.data.slice(user * candidates, user * candidates + count));
}

function joined(feeds: readonly Tensors[], name: string, userCount: number, length: number): Tensor {
  const first = feeds[0]?.[name];
  const [, ...inner] = first?.shape ?? [];
  const width = inner.reduce((product, count) => product * count, 1);
  const batch = zeros(first?.type ?? 'float32', [userCount, length, ...inner]);
  feeds.forEach(({ [name]: tensor }, user) => {
    if (tensor?.type !== batch.type || tensor.data.length !== (tensor.shape[0] ?? 0) * width) {
      throw new CkvError('bug', `input ${name} of user ${user} does not fit that of the first user`);
    }
    (batch.data as Float32Array).set(tensor.data as Float32Array, user * length * width); // both have the same type
  });
  return batch;
}

/** Returns the rows that each user has of an axis, int64 [users]. */
function rowCounts(inputs: readonly GraphInput[], axis: string, feeds: readonly Tensors[], userCount: number): Tensor {
  const counted = inputs.find(({ shape }) => shape[1] === axis)?.name ?? '';
  const counts = new Int32Array(userCount);
  counts.set(lengthsOf(feeds, counted));
  return integers('int64', counts, [userCount]);
}

function lengthsOf(feeds: readonly Tensors[], name: string): number[] {
  return feeds.map(({ [name]: tensor }) => tensor?.shape[0] ?? 0);
}
