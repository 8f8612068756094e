import { expect, it } from 'vitest';
import { CONTROL, HISTORIES, outcomeOf } from './arm-outcome.js';
import type { PhaseRow } from './phase-log.js';

const rowOf = (phase: string, auc: number, more: Partial<PhaseRow> = {}): PhaseRow => ({
  phase,
  seconds: 1,
  requests: 100,
  failed: 0,
  degraded: 0,
  p50Ms: 1,
  p99Ms: 1,
  auc,
  lowestAuc: auc,
  coldAuc: 0.6,
  coverage: null,
  ...more,
});
const GOOD = [rowOf(HISTORIES, 0.6), rowOf('v1 serves', 0.8), rowOf('switch', 0.79), rowOf(CONTROL, 0.61)];
const outcome = (phases: readonly PhaseRow[], failures: readonly string[] = []) =>
  outcomeOf({
    arm: 'calm',
    phases,
    failures,
    findings: {
      recordsCompared: 1,
      answersCompared: 1,
      lost: 0,
      duplicated: 0,
      outOfOrder: 0,
      wrongAnswers: 0,
      problems: [],
    },
    ended: '',
    interactions: 1,
    repeatedCalls: 0,
    kills: {},
    seconds: 1,
  });

it('has no problem if every phase after the histories is warm and the control is cold', () => {
  expect(outcome(GOOD)).toMatchObject({ aucBound: 0.7, problems: [], failedRequests: 0 });
});

it.each([
  ['scores that fell for some requests in a row', [...GOOD, rowOf('rollback', 0.78, { lowestAuc: 0.69 })], /^rollback/],
  ['a phase without scores', [...GOOD, rowOf('rollback', Number.NaN)], /^rollback/],
  ['an answer on a lower rung', [...GOOD, rowOf('rollback', 0.8, { degraded: 1 })], /lower rung/],
  ['a control that is not cold', [...GOOD.slice(0, 3), rowOf(CONTROL, 0.8)], /control/],
])('reports %s', (_, phases, problem) => {
  expect(outcome(phases).problems).toEqual([expect.stringMatching(problem)]);
});

it('reports failed requests', () => {
  expect(outcome(GOOD, ['deadline: too late'])).toMatchObject({
    failedRequests: 1,
    problems: [expect.stringMatching(/^1 rank requests failed; the first: deadline/)],
  });
});
