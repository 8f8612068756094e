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

  it('gives each part its own memory, so that sending one does not send all', () => {
    for (const part of splitCandidates(inputs, feedsOf(8), 2)) expect(part.item?.data.buffer.byteLength).toBe(4 * 8);
  });
});

it('joins the scores of all parts in order', () => {
  const part = (...scores: number[]) => ({ scores: float32(Float32Array.from(scores), [scores.length]) });
  expect([...joinScores([part(1, 2), part(), part(3)], 'scores')]).toEqual([1, 2, 3]);
  expect([...joinScores([part(4)], 'scores')]).toEqual([4]);
  expect(joinScores([{}], 'scores')).toHaveLength(0);
});
