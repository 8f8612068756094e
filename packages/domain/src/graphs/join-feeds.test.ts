import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GraphInput } from '../bundle/manifest-schema.js';
import { elementAt, float32, integers, type Tensor, type Tensors, zeros } from '../tensor.js';
import { exactLength, joinFeeds, powerOfTwo, splitScores } from './join-feeds.js';

const inputs: GraphInput[] = [
  { name: 'item', role: 'candidate_item', type: 'int64', shape: ['users', 'candidates'] },
  { name: 'age', role: 'candidate_feature', feature: 'age', type: 'float32', shape: ['users', 'candidates'] },
  { name: 'hour', role: 'context_feature', feature: 'hour', type: 'float32', shape: ['users', 1] },
  { name: 'slots', role: 'distinct_slots', field: 'route', type: 'int32', shape: ['users', 'slots'] },
  { name: 'keys', role: 'user', field: 'key', type: 'float16', shape: ['users', 'positions', 3] },
  { name: 'codes', role: 'raw', field: 'code', type: 'uint8', shape: ['users', 'positions', 1] },
  { name: 'position_count', role: 'row_count', axis: 'positions', type: 'int64', shape: ['users'] },
];
const tensorInputs = inputs.filter(({ role }) => role !== 'row_count');

/** The length of each axis of a user. */
type User = Readonly<Record<'candidates' | 'slots' | 'positions', number>>;
const length = fc.nat({ max: 40 });
const users = fc.array(fc.record({ candidates: length, slots: length, positions: length }), {
  minLength: 1,
  maxLength: 6,
});

/** Returns feeds without a zero. */
function feedsOf(user: User): Tensors {
  const feeds = tensorInputs.map(({ name, type, shape: [, axis, ...inner] }) => {
    const tensor = zeros(type, [typeof axis === 'number' ? axis : user[axis as keyof User], ...inner.map(Number)]);
    for (let i = 0; i < tensor.data.length; i++) {
      const value = 1 + ((i + user.positions) % 250);
      tensor.data[i] = type === 'int64' ? BigInt(value) : value;
    }
    return [name, tensor] as const;
  });
  return Object.fromEntries(feeds);
}

/** Returns the elements of a tensor as numbers. */
const numbers = (tensor: Tensor) => Array.from({ length: tensor.data.length }, (_, i) => elementAt(tensor, i));

describe('joinFeeds', () => {
  it.each([
    ['to the longest user', exactLength],
    ['to powers of two', powerOfTwo],
  ])('keeps all values of each user in order, and fills up with zeros %s', (_, bucket) => {
    fc.assert(
      fc.property(users, (lengths) => {
        const feeds = lengths.map(feedsOf);
        const batch = joinFeeds(inputs, feeds, bucket);
        expect(Object.keys(batch)).toEqual(inputs.map(({ name }) => name));
        const userCount = bucket(lengths.length);
        for (const { name, shape: declared } of tensorInputs) {
          const joined = batch[name] as Tensor;
          const axis = declared[1] as keyof User;
          const longest = Math.max(1, ...lengths.map((user) => user[axis] ?? 1));
          expect(joined.shape).toEqual([userCount, bucket(longest), ...declared.slice(2)]);
          const values = numbers(joined);
          const stride = values.length / userCount;
          for (let user = 0; user < userCount; user++) {
            const tensor = feeds[user]?.[name];
            expect(joined.type).toBe(tensor?.type ?? joined.type);
            const own = tensor ? numbers(tensor) : [];
            const padding = Array(stride - own.length).fill(0);
            expect(values.slice(user * stride, (user + 1) * stride)).toEqual([...own, ...padding]);
          }
        }
        const counts = Array.from({ length: userCount }, (_, user) => lengths[user]?.positions ?? 0);
        expect(batch.position_count).toEqual(integers('int64', counts, [userCount]));
      }),
    );
  });

  it('pads the users and each axis by itself, and a fixed axis not at all', () => {
    const feeds = [
      feedsOf({ candidates: 5, slots: 9, positions: 0 }),
      feedsOf({ candidates: 2, slots: 1, positions: 0 }),
      feedsOf({ candidates: 4, slots: 3, positions: 0 }),
    ];
    const shapes = Object.entries(joinFeeds(inputs, feeds, powerOfTwo)).map(([name, { shape }]) => [name, shape]);
    expect(Object.fromEntries(shapes)).toEqual({
      item: [4, 8],
      age: [4, 8],
      hour: [4, 1],
      slots: [4, 16],
      keys: [4, 1, 3],
      codes: [4, 1, 1],
      position_count: [4],
    });
  });

  it.each([
    ['is missing', ({ slots: _, ...others }: Tensors): Tensors => others],
    ['has another type', (feeds: Tensors): Tensors => ({ ...feeds, slots: integers('int64', [1], [1]) })],
    ['has another width', (feeds: Tensors): Tensors => ({ ...feeds, slots: zeros('int32', [1, 2]) })],
  ])('throws a bug if an input %s', (_, change) => {
    const feeds = feedsOf({ candidates: 1, slots: 1, positions: 1 });
    const bug = { reason: 'bug', message: 'input slots of user 1 does not fit that of the first user' };
    expect(() => joinFeeds(inputs, [feeds, change(feeds)], exactLength)).toThrow(expect.objectContaining(bug));
  });
});

describe('splitScores', () => {
  const scores = float32(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [2, 4]);

  it('returns the scores of each user, without those of the padding', () => {
    expect(splitScores(scores, [4, 2])).toEqual([Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6)]);
    expect(splitScores(scores, [0])).toEqual([new Float32Array(0)]);
  });

  it('gives each user memory of its own', () => {
    expect(splitScores(scores, [3, 2]).map(({ buffer }) => buffer.byteLength)).toEqual([12, 8]);
  });

  it.each([
    ['none', undefined, [1, 1]],
    ['of fewer users', scores, [1, 1, 1]],
    ['of fewer candidates', scores, [1, 5]],
    ['of another type', zeros('float16', [2, 4]), [1, 1]],
    ['of another length', float32(new Float32Array(7), [2, 4]), [1, 1]],
  ])('throws a bug for scores that are %s', (_, wrong, counts) => {
    const bug = { reason: 'bug', message: expect.stringMatching(/^the graph answered scores \[.*\] for [23] users$/) };
    expect(() => splitScores(wrong, counts)).toThrow(expect.objectContaining(bug));
  });
});

it('buckets are the lengths themselves, or powers of two', () => {
  const lengths = [0, 1, 2, 3, 4, 5, 64, 65, 10_000];
  expect(lengths.map(exactLength)).toEqual(lengths);
  expect(lengths.map(powerOfTwo)).toEqual([1, 1, 2, 4, 4, 8, 64, 128, 16_384]);
});
