import { expect, it } from 'vitest';
import { createFollowerReports, MAX_FOLLOWERS } from './follower-reports.js';
import { FEWEST_SAMPLES, requireWarm } from './require-warm.js';

const BUNDLE = 'a'.repeat(16);
let nowMs = 0;
const open = () => createFollowerReports(() => nowMs);
const report = (replicaId: string, sampledCount: number, warmCount: number, recordsChange = 0) => ({
  service: 'ranking',
  replicaId,
  bundles: [{ bundleId: BUNDLE, loaded: true, sampledCount, warmCount, recordsChange }],
});
const announced = (recordsChange = 0) => [{ bundleId: BUNDLE, recordsChange }];

it('keeps the latest report of each replica, and adds their requests up', () => {
  const reports = open();
  reports.add(report('one', 100, 10));
  reports.add(report('two', 50, 50));
  reports.add(report('one', 200, 100));
  expect(reports.all().map(({ replicaId }) => replicaId)).toEqual(['two', 'one']);
  expect(reports.coverageOf(BUNDLE)).toEqual({ sampledCount: 250, warmCount: 150 });
  expect(reports.coverageOf('b'.repeat(16))).toEqual({ sampledCount: 0, warmCount: 0 });
});

it('forgets what was reported of a bundle that is announced no more', () => {
  const reports = open();
  reports.add(report('one', 100, 100));
  reports.keepOnly(announced());
  expect(reports.coverageOf(BUNDLE).sampledCount).toBe(100);
  reports.keepOnly([]);
  reports.add(report('late', 100, 100));
  reports.keepOnly(announced());
  expect(reports.coverageOf(BUNDLE).sampledCount).toBe(0);
  expect(reports.all().map(({ replicaId }) => replicaId)).toEqual(['one', 'late']);
  reports.add(report('one', 10, 5));
  expect(reports.coverageOf(BUNDLE)).toEqual({ sampledCount: 10, warmCount: 5 });
});

it('counts no request from before the records change that is announced', () => {
  const reports = open();
  reports.keepOnly(announced());
  reports.add(report('one', 100, 100));
  reports.keepOnly(announced(2));
  expect(reports.coverageOf(BUNDLE)).toEqual({ sampledCount: 0, warmCount: 0 });
  expect(reports.all()[0]?.bundles[0]).toMatchObject({ loaded: true });
  reports.add(report('late', 100, 100));
  expect(reports.coverageOf(BUNDLE).sampledCount).toBe(0);
  reports.add(report('one', 10, 5, 2));
  expect(reports.coverageOf(BUNDLE)).toEqual({ sampledCount: 10, warmCount: 5 });
});

it('forgets a replica that is silent, and the most silent one of too many', () => {
  const reports = open();
  reports.add(report('silent', 100, 0));
  nowMs += 10_000;
  reports.add(report('speaking', 100, 100));
  expect(reports.all()).toHaveLength(2);
  nowMs += 5_001;
  expect(reports.coverageOf(BUNDLE)).toEqual({ sampledCount: 100, warmCount: 100 });
  for (let i = 0; i < MAX_FOLLOWERS; i++) reports.add(report(`replica-${i}`, 1, 1));
  expect(reports.all()).toHaveLength(MAX_FOLLOWERS);
  expect(reports.all().some(({ replicaId }) => replicaId === 'speaking')).toBe(false);
});

it.each([
  [FEWEST_SAMPLES, 95],
  [1_000, 950],
])('lets a bundle serve with %i requests, %i of them warm, of which 95 %% are required', (sampled, warm) => {
  const reports = open();
  reports.add(report('one', sampled, warm));
  expect(() => requireWarm(reports, { bundleId: BUNDLE, minCoverageBp: 9_500, announced: true })).not.toThrow();
});

it.each([
  [0, 0, 'its coverage is unknown: ranking has looked at 0 rank requests, 100 are required; wait until users'],
  [99, 99, 'its coverage is unknown: ranking has looked at 99 rank requests, 100 are required; wait until users'],
  [
    1_000,
    949,
    '94.9% of 1000 rank requests have a warm record, 95% are required; build its records by "ckv backfill --bundle aaaaaaaaaaaaaaaa"',
  ],
])('refuses a bundle with %i requests, %i of them warm', (sampled, warm, message) => {
  const reports = open();
  reports.add(report('one', sampled, warm));
  const check = () => requireWarm(reports, { bundleId: BUNDLE, minCoverageBp: 9_500, announced: true });
  expect(check).toThrow(message);
  expect(check).toThrow('or serve it anyway by --force');
  expect(() => requireWarm(reports, { bundleId: BUNDLE, minCoverageBp: 0, announced: true })).not.toThrow();
});
