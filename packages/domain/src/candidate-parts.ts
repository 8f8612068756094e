import { CkvError } from './errors.js';
import type { GraphInput } from './manifest.js';
import type { Tensor, Tensors } from './tensor.js';

/** Candidates in a rank graph's feeds. */
export function candidateCount(inputs: readonly GraphInput[], feeds: Tensors): number {
  const input = inputs.find(isPerCandidate);
  return (input && feeds[input.name]?.shape[0]) ?? 0;
}

/**
 * A rank graph's feeds in parts of nearly as many candidates each, in their order; what all candidates share, history and
 * context, is the same tensor in every part. Not more parts than candidates.
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

/** The scores of all parts, in their order. */
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

function isPerCandidate({ role }: GraphInput): boolean {
  return role === 'candidate_item' || role === 'candidate_feature';
}

/** Copies: a view would send its whole buffer to another thread. */
function entriesOf(feeds: Tensors, name: string, from: number, to: number): Tensor {
  const tensor = feeds[name];
  if (tensor?.shape.length !== 1) throw new CkvError('bug', `input ${name} is not one value a candidate`);
  return { ...tensor, data: tensor.data.slice(from, to), shape: [to - from] } as Tensor;
}
