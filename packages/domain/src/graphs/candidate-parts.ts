import type { GraphInput } from '../bundle/manifest-schema.js';
import { CkvError } from '../errors.js';
import type { Tensor, Tensors } from '../tensor.js';

/** Returns the number of candidates in a rank graph's feeds. */
export function candidateCount(inputs: readonly GraphInput[], feeds: Tensors): number {
  const input = inputs.find(isPerCandidate);
  return (input && feeds[input.name]?.shape[0]) ?? 0;
}

/**
 * Splits a rank graph's feeds by candidates, in order. Part sizes differ by at most one candidate. History and context
 * are the same tensors in every part. There are at most as many parts as candidates, and at least one.
 */
export function splitCandidates(inputs: readonly GraphInput[], feeds: Tensors, partCount: number): Tensors[] {
  const count = candidateCount(inputs, feeds);
  const parts = Math.min(partCount, count);
  if (parts <= 1) return [feeds];
  const names = inputs.filter(isPerCandidate).map(({ name }) => name);
  return Array.from({ length: parts }, (_, i) => {
    const [from, to] = [Math.floor((i * count) / parts), Math.floor(((i + 1) * count) / parts)];
    return { ...feeds, ...Object.fromEntries(names.map((name) => [name, entriesOf(feeds, name, from, to)])) };
  });
}

/** Joins the scores of all parts, in order. */
export function joinScores(parts: readonly Tensors[], output: string): Float32Array {
  const scores = parts.map(({ [output]: tensor }) => (tensor?.type === 'float32' ? tensor.data : new Float32Array(0)));
  if (scores.length === 1 && scores[0]) return scores[0];
  const joined = new Float32Array(scores.reduce((sum, { length }) => sum + length, 0)); // [candidates]
  let at = 0;
  for (const part of scores) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** True if the input has one entry per candidate. */
export function isPerCandidate({ role }: GraphInput): boolean {
  return role === 'candidate_item' || role === 'candidate_feature';
}

/** Copies a part of an input. A view would send the whole buffer to another thread. */
function entriesOf(feeds: Tensors, name: string, from: number, to: number): Tensor {
  const tensor = feeds[name];
  if (tensor?.shape.length !== 1) throw new CkvError('bug', `input ${name} does not have one value per candidate`);
  return { ...tensor, data: tensor.data.slice(from, to), shape: [to - from] } as Tensor;
}
