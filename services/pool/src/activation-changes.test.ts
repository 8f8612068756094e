import { expect, it } from 'vitest';
import { activated, rolledBack } from './activation-changes.js';
import { announcementOf } from './announcement.js';

const [first, second, third] = ['1', '2', '3'].map((digit) => digit.repeat(16)) as [string, string, string];
const candidateOf = (bundleId: string) => ({ bundleId, shareBp: 0 });
const announced = (activation: Parameters<typeof announcementOf>[0]) =>
  announcementOf(activation, () => true).bundles.map(({ bundleId, state }) => [bundleId, state]);

it('keeps a bundle announced that was rolled back, so that its records have no hole when it becomes active again', () => {
  const before = activated(activated({ active: first, previous: [] }, second), third);
  const after = rolledBack(before);
  expect(announced(after)).toEqual([
    [second, 'active'],
    [third, 'warming'],
    [first, 'previous'],
  ]);
  expect(activated(after, third)).toEqual(before);
});

it('returns to the bundles before by more rollbacks, and to the first one again at the end of the row', () => {
  const before = activated(activated({ active: first, previous: [] }, second), third);
  const actives = [1, 2, 3].map(
    (count) =>
      Array.from({ length: count }).reduce((activation: typeof before) => rolledBack(activation), before).active,
  );
  expect(actives).toEqual([second, first, third]);
});

it('makes no bundle warm beyond the most candidates', () => {
  const candidates = [candidateOf('4'.repeat(16)), candidateOf('5'.repeat(16))];
  const after = rolledBack({ active: third, previous: [second, first], candidates });
  expect(after).toEqual({ active: second, previous: [first, third], candidates });
});
