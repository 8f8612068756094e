import { expect, it } from 'vitest';
import { servesUser } from './canary.js';

const [FIRST, SECOND] = ['a'.repeat(16), 'b'.repeat(16)];
const USERS = Array.from({ length: 20_000 }, (_, i) => `user-${i}`);
const usersOf = (bundleId: string, shareBp: number) => USERS.filter((user) => servesUser({ bundleId, shareBp }, user));

it('serves nobody at no share, and everybody at the whole share', () => {
  expect(usersOf(FIRST, 0)).toEqual([]);
  expect(usersOf(FIRST, 10_000)).toEqual(USERS);
});

it('serves the given share of the users', () => {
  for (const shareBp of [100, 500, 5_000]) {
    const wanted = (USERS.length * shareBp) / 10_000;
    // Five standard deviations of a binomial distribution.
    const bound = 5 * Math.sqrt(wanted * (1 - shareBp / 10_000));
    expect(Math.abs(usersOf(FIRST, shareBp).length - wanted)).toBeLessThan(bound);
  }
});

it('serves on whom it served at a smaller share', () => {
  const more = new Set(usersOf(FIRST, 1_000));
  expect(usersOf(FIRST, 500).filter((user) => !more.has(user))).toEqual([]);
});

it('serves users that are independent of those of another bundle', () => {
  const other = new Set(usersOf(SECOND, 5_000));
  const both = usersOf(FIRST, 5_000).filter((user) => other.has(user)).length;
  const wanted = USERS.length / 4;
  expect(Math.abs(both - wanted)).toBeLessThan(5 * Math.sqrt(wanted * 0.75));
});

it('gives the same answer on every machine', () => {
  const served = USERS.slice(0, 40).filter((user) => servesUser({ bundleId: FIRST, shareBp: 1_000 }, user));
  expect(served).toEqual(['user-13', 'user-21', 'user-25', 'user-30', 'user-32']); // computed in Python
});
