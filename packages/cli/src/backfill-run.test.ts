import type { Warming, WarmingPhase } from '@collectivekv/update-queue';
import { expect, it, vi } from 'vitest';
import { durationText, describe as textOf, untilSettled } from './backfill-run.js';

const partition = (phase: WarmingPhase, more = {}) => ({
  partition: 0,
  phase,
  sentCount: 0,
  appliedCount: 600,
  waitingCount: 0,
  lagMs: 0,
  ...more,
});
const warming = (...partitions: Warming['partitions']): Warming => ({
  encodingId: 'e',
  bundleId: 'b',
  source: 'files',
  digest: '',
  rowCount: 0,
  partitions,
});

it.each([
  [40, '40 s'],
  [119, '119 s'],
  [120, '2 min'],
  [7_199, '120 min'],
  [7_200, '2.0 h'],
  [12_600, '3.5 h'],
])('writes %i seconds as %s', (seconds, text) => {
  expect(durationText(seconds)).toBe(text);
});

it('tells how far a backfill is, in one line', () => {
  expect(textOf(warming(partition('live'), partition('live')))).toBe('partitions: 2 live; applied 1,200');
  const files = partition('files', { waitingCount: 1_500 });
  expect(textOf(warming(files, partition('log', { lagMs: 61_001 })))).toBe(
    'partitions: 1 files, 1 log; applied 1,200; 1,500 rows wait; event log 62 s behind',
  );
});

it('waits until every partition was without jobs once', async () => {
  const counts = [
    [2, 0, 1],
    [0, 5, 1],
    [3, 5, 0],
  ];
  const unsettledCounts = vi.fn(async () => counts.shift() ?? []);
  const messages: string[] = [];
  await untilSettled({ warmings: { unsettledCounts }, onProgress: (message) => messages.push(message) });
  expect(unsettledCounts).toHaveBeenCalledTimes(3);
  expect(messages).toEqual([
    'waiting for the queue: 2 partitions have 3 jobs',
    'waiting for the queue: 1 partitions have 1 jobs',
  ]);
});
