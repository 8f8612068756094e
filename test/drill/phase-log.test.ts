import { expect, it } from 'vitest';
import { createPhaseLog, type Sample, WINDOW } from './phase-log.js';

const RIGHT = [
  { score: 1, label: 1 },
  { score: 0, label: 0 },
];
const WRONG = [
  { score: 0, label: 1 },
  { score: 1, label: 0 },
];
const sampleOf = (served: Sample['served'], cold: Sample['cold'] = []): Sample => ({
  ms: 1,
  failed: false,
  degraded: false,
  served,
  cold,
});

it('counts an answer in the phase in which its request was due, though it comes later', () => {
  const phases = createPhaseLog();
  phases.begin('before');
  const note = phases.current();
  phases.begin('after');
  note(sampleOf(RIGHT));
  expect(phases.rows().map(({ phase, requests }) => [phase, requests])).toEqual([
    ['before', 1],
    ['after', 0],
  ]);
});

it('finds the requests in a row whose scores fell, and keeps scores without a history apart', () => {
  const phases = createPhaseLog();
  phases.begin('switch');
  const note = phases.current();
  for (let i = 0; i < 3 * WINDOW; i++) note(sampleOf(i >= WINDOW && i < 2 * WINDOW ? WRONG : RIGHT, WRONG));
  const [row] = phases.rows();
  expect(row?.auc).toBeCloseTo(2 / 3);
  expect([row?.lowestAuc, row?.coldAuc]).toEqual([0, 0]);
});

it('measures the time of a phase, and leaves requests without a time out of the latencies', () => {
  let nowMs = 0;
  const phases = createPhaseLog(() => nowMs);
  phases.begin('one');
  phases.current()({ failed: true, degraded: false, served: [], cold: [] });
  phases.current()({ ...sampleOf(RIGHT), ms: 7 });
  nowMs = 3_000;
  phases.begin('two');
  nowMs = 5_000;
  expect(phases.rows().map(({ seconds, requests, failed, p50Ms }) => [seconds, requests, failed, p50Ms])).toEqual([
    [3, 2, 1, 7],
    [2, 0, 0, 0],
  ]);
});
