import { expect, it } from 'vitest';
import {
  activated,
  latestChange,
  MAX_CHANGED_ENCODINGS,
  type RecordsChange,
  requireUnchanged,
  rolledBack,
  withCandidate,
  withChange,
  withoutCandidate,
} from './activation-changes.js';
import { announcementOf } from './announcement.js';

const [first, second, third] = ['1', '2', '3'].map((digit) => digit.repeat(16)) as [string, string, string];
const candidateOf = (bundleId: string) => ({ bundleId, shareBp: 0 });
const announced = (activation: Parameters<typeof announcementOf>[0]) =>
  announcementOf(activation, () => 'an encoding').bundles.map(({ bundleId, state }) => [bundleId, state]);

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

it('returns to the bundles before by more rollbacks, and at the end of the row to none that a rollback has left', () => {
  const before = activated(activated({ active: first, previous: [] }, second), third);
  const once = rolledBack(before);
  const twice = rolledBack(once);
  expect([once.active, twice.active]).toEqual([second, first]);
  expect(() => rolledBack(twice)).toThrow(
    `a rollback has left it; to return to it, run "ckv bundle activate ${third}"`,
  );
});

it('leads to no bundle that a rollback has left, also after a canary of it and after other changes', () => {
  const fled = rolledBack(activated({ active: first, previous: [] }, second));
  const tried = rolledBack(withCandidate(fled, { bundleId: second, shareBp: 500 }));
  expect(() => rolledBack(tried)).toThrow('no rollback is left');
  expect(() => rolledBack(withoutCandidate(tried, second))).toThrow('no rollback is left');
  const back = rolledBack(activated(fled, third));
  expect(back.active).toBe(first);
  expect(() => rolledBack(back)).toThrow('no rollback is left');
});

it('leads to a bundle again that became active after a rollback had left it', () => {
  const fled = rolledBack(activated({ active: first, previous: [] }, second));
  const again = activated(fled, second);
  expect(again).toEqual({ active: second, previous: [first] });
  expect(rolledBack(activated(again, third)).active).toBe(second);
});

it('makes no bundle warm beyond the most candidates', () => {
  const candidates = [candidateOf('4'.repeat(16)), candidateOf('5'.repeat(16))];
  const after = rolledBack({ active: third, previous: [second, first], candidates });
  expect(after).toEqual({ active: second, previous: [first, third], candidates, left: [third] });
});

it('numbers records changes, keeps the latest of each encoding, and never uses a number twice', () => {
  let changes: RecordsChange[] = [];
  expect(latestChange(changes)).toBe(1);
  for (const encodingId of [first, second, first]) changes = withChange(changes, encodingId);
  expect(changes).toEqual([
    { encodingId: second, number: 3 },
    { encodingId: first, number: 4 },
  ]);
  expect(() => requireUnchanged(changes, second, 2)).toThrow('known_change: records change 3 concerns');
  requireUnchanged(changes, second, 3);
  requireUnchanged(changes, third, 1);
  requireUnchanged(changes, first, 0);
  for (let i = 0; i < MAX_CHANGED_ENCODINGS; i++) changes = withChange(changes, `encoding ${i}`);
  expect(changes).toHaveLength(MAX_CHANGED_ENCODINGS);
  expect(latestChange(withChange(changes, first))).toBe(MAX_CHANGED_ENCODINGS + 5);
});
