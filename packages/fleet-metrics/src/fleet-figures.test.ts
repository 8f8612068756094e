import { expect, it } from 'vitest';
import { fleetFigures } from './fleet-figures.js';
import { parseMetrics } from './metrics-text.js';
import type { Scrape } from './scrape.js';

const RPC = 'ckv_rpc_duration_seconds';

function scrape(target: string, atMs: number, text: string): Scrape {
  return { target, atMs, samples: parseMetrics(text), problem: '' };
}

/** Metrics of a ranking replica that has answered some calls within 10 ms, some within 50 ms, and refused some. */
function ranking(fast: number, slow: number, refused: number): string {
  const labels = 'service="ranking",rpc="RankingService/Rank"';
  return [
    `${RPC}_bucket{le="0.01",${labels},code="OK"} ${fast}`,
    `${RPC}_bucket{le="0.05",${labels},code="OK"} ${fast + slow}`,
    `${RPC}_bucket{le="+Inf",${labels},code="OK"} ${fast + slow}`,
    `${RPC}_count{${labels},code="OK"} ${fast + slow}`,
    `${RPC}_count{${labels},code="RESOURCE_EXHAUSTED"} ${refused}`,
    `ckv_rank_answers_total{rung="full",reason="",service="ranking"} ${fast}`,
    `ckv_bundle_info{bundle="b1",name="demo",encoding="e1",service="ranking"} 1`,
    `ckv_bundle_loaded{bundle="b1",state="active",service="ranking"} 1`,
    `process_resident_memory_bytes{service="ranking"} 1000`,
  ].join('\n');
}

it('joins the replicas, and counts what happened between two looks', () => {
  const before = [scrape('a', 0, ranking(100, 0, 0)), scrape('b', 0, ranking(500, 100, 7))];
  const now = [scrape('a', 2_000, ranking(190, 10, 0)), scrape('b', 2_000, ranking(580, 120, 107))];
  const { rank, processes, bundles } = fleetFigures(before, now);
  expect(rank.perS).toBe(150); // 100 and 200 calls in 2 s
  expect(rank.failedShare).toBeCloseTo(100 / 300);
  expect(rank.rungs).toEqual({ full: 85 });
  expect(rank.seconds.p50).toBeCloseTo((0.01 * 100) / 170);
  expect(rank.seconds.p99).toBeCloseTo(0.01 + (0.04 * 28) / 30);
  expect(processes).toMatchObject([
    { target: 'a', service: 'ranking', callsPerS: 50, failedShare: 0, memoryBytes: 1_000 },
    { target: 'b', callsPerS: 100, bundles: [{ bundleId: 'b1', state: 'active' }] },
  ]);
  expect(bundles).toEqual([{ bundleId: 'b1', name: 'demo', encodingId: 'e1', loadedCount: 2 }]);
});

it('counts a restarted process from its start', () => {
  const figures = fleetFigures([scrape('a', 0, ranking(1_000, 0, 0))], [scrape('a', 1_000, ranking(20, 0, 0))]);
  expect(figures.rank.perS).toBe(20);
});

it('knows no rate at the first look, and names a process that does not answer', () => {
  const away: Scrape = { target: 'c', atMs: 0, samples: [], problem: 'cannot be reached' };
  const { rank, processes, interactions } = fleetFigures([], [scrape('a', 0, ranking(1, 0, 0)), away]);
  expect(rank.perS).toBe(0);
  expect(processes[1]).toMatchObject({ target: 'c', service: '', problem: 'cannot be reached' });
  expect(interactions.oldestS).toBeNaN();
});

it('takes the oldest job of all updaters that can tell', () => {
  const updater = (ageS: string, waiting: number) =>
    `ckv_oldest_waiting_job_seconds{service="updater"} ${ageS}\nckv_waiting_jobs{service="updater"} ${waiting}`;
  const now = [scrape('a', 0, updater('NaN', 3)), scrape('b', 0, updater('12.5', 4))];
  expect(fleetFigures([], now).interactions).toMatchObject({ oldestS: 12.5, waitingJobs: 7 });
});
