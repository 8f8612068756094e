import { describe, expect, it } from 'vitest';
import type { GraphInput } from '../bundle/manifest-schema.js';
import { float32, integers, type Tensors } from '../tensor.js';
import { candidateCount, joinScores, splitCandidates } from './candidate-parts.js';

const spec = { type: 'int64' as const, shape: ['n'] };
const inputs: GraphInput[] = [
  { name: 'slots', role: 'distinct_slots', field: 'route', ...spec },
  { name: 'item', role: 'candidate_item', ...spec },
  { name: 'age', role: 'candidate_feature', feature: 'age', ...spec },
  { name: 'hour', role: 'context_feature', feature: 'hour', ...spec },
];
const feedsOf = (count: number): Tensors => ({
  slots: integers('int64', [3, 5, 7, 11, 13], [5]),
  item: integers(
    'int64',
    Array.from({ length: count }, (_, i) => i),
    [count],
  ),
  age: float32(
    Float32Array.from({ length: count }, (_, i) => i / 2),
    [count],
  ),
  hour: float32(Float32Array.of(13), [1]),
});
const values = (tensors: Tensors, name: string) => [...(tensors[name]?.data ?? [])].map(Number);

describe('splitCandidates', () => {
  it.each([
    [7, 3, [2, 2, 3]],
    [6, 2, [3, 3]],
    [2, 5, [1, 1]],
    [5, 1, [5]],
    [5, 0, [5]],
    [0, 4, [0]],
  ])('splits %i candidates into at most %i parts', (count, parts, sizes) => {
    const feeds = feedsOf(count);
    const split = splitCandidates(inputs, feeds, parts);
    expect(split.map((part) => candidateCount(inputs, part))).toEqual(sizes);
    expect(split.flatMap((part) => values(part, 'item'))).toEqual(values(feeds, 'item'));
    expect(split.flatMap((part) => values(part, 'age'))).toEqual(values(feeds, 'age'));
    for (const part of split) {
      expect(part.slots).toBe(feeds.slots);
      expect(part.hour).toBe(feeds.hour);
      expect(part.age?.shape).toEqual([candidateCount(inputs, part)]);
    }
  });

  it('returns the feeds themselves as the only part', () => {
    const feeds = feedsOf(5);
    expect(splitCandidates(inputs, feeds, 1)[0]).toBe(feeds);
  });

  it('throws a bug for an input that is missing or has two dimensions', () => {
    const bug = expect.objectContaining({ reason: 'bug', message: 'input age does not have one value per candidate' });
    const wide = { ...feedsOf(2), age: float32(new Float32Array(4), [2, 2]) };
    expect(() => splitCandidates(inputs, wide, 2)).toThrow(bug);
    const { age: _, ...missing } = feedsOf(2);
    expect(() => splitCandidates(inputs, missing, 2)).toThrow(bug);
  });

  it('gives each part its own memory, so that sending one does not send all', () => {
    for (const part of splitCandidates(inputs, feedsOf(8), 2)) expect(part.item?.data.buffer.byteLength).toBe(4 * 8);
  });
});

it('counts no candidates in feeds without an input per candidate', () => {
  expect(candidateCount(inputs, {})).toBe(0);
  expect(candidateCount([], feedsOf(3))).toBe(0);
});

it('returns the scores of a single part without a copy', () => {
  const data = Float32Array.of(1, 2);
  expect(joinScores([{ scores: float32(data, [2]) }], 'scores')).toBe(data);
});

it('joins the scores of all parts in order', () => {
  const part = (...scores: number[]) => ({ scores: float32(Float32Array.from(scores), [scores.length]) });
  expect([...joinScores([part(1, 2), part(), part(3)], 'scores')]).toEqual([1, 2, 3]);
  expect([...joinScores([part(4)], 'scores')]).toEqual([4]);
  expect(joinScores([{}], 'scores')).toHaveLength(0);
});
