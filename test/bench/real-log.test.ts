import type { Interaction } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import { realLogOf } from './real-log.js';

/** A log in which user `a` has 4 interactions, `b` 3 and `c` 2, in turns. */
const LOG: Interaction[] = ['a', 'b', 'c', 'a', 'b', 'c', 'a', 'b', 'a'].map((userId, i) => ({
  eventId: `e${i}`,
  userId,
  itemId: `item-${i}`,
  timestampMs: i,
  action: 'click',
  features: {},
}));
const log = realLogOf(LOG);
const users = (positions: number, i: number) => log.history(positions, i).map(({ userId }) => userId);
const times = (positions: number, i: number) => log.history(positions, i).map(({ timestampMs }) => timestampMs);

it('takes the newest interactions of one user, and users in turn, if their histories are long enough', () => {
  expect(times(3, 0)).toEqual([3, 6, 8]);
  expect(times(3, 1)).toEqual([1, 4, 7]);
  expect(users(3, 2)).toEqual(['a', 'a', 'a']); // `c` has two only
});

it('joins the histories of several users in the order of time, if no user has enough', () => {
  expect(times(6, 0)).toEqual([1, 3, 4, 6, 7, 8]); // of `a` and `b`
  expect(new Set(users(6, 0))).toEqual(new Set(['a', 'b']));
  expect(users(6, 1)).not.toEqual(users(6, 0));
  expect(times(9, 2)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

it('says how many interactions there are, if the whole log has too few', () => {
  expect(() => log.history(10, 0)).toThrow('the log has 9 interactions, 10 are needed; give smaller --lengths');
});

it('makes new events of real interactions, with other ids for other seeds', () => {
  const events = log.events(12, { users: 5, seed: 1 });
  expect(events.map(({ itemId }) => itemId)).toEqual(
    [12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23].map((i) => `item-${i % 9}`),
  );
  expect(new Set(events.map(({ userId }) => userId)).size).toBe(5);
  const ids = [1, 2].flatMap((seed) => log.events(12, { users: 5, seed }).map(({ eventId }) => eventId));
  expect(new Set(ids).size).toBe(24);
});
