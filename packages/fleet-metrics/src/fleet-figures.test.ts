import { expect, it } from 'vitest';
import { FIGURED_METRICS, fleetFigures } from './fleet-figures.js';
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

it('leaves streams that stay open out of the calls, and tells what a process is still to load', () => {
  const text = (calls: number) =>
    [
      `${RPC}_count{service="pool",rpc="PoolService/WatchBundles",code="OK"} ${100 * calls}`,
      `${RPC}_bucket{le="0.01",service="pool",rpc="PoolService/WatchBundles",code="OK"} 0`,
      `${RPC}_bucket{le="+Inf",service="pool",rpc="PoolService/WatchBundles",code="OK"} ${100 * calls}`,
      `${RPC}_count{service="pool",rpc="PoolService/Describe",code="OK"} ${calls}`,
      `${RPC}_bucket{le="0.01",service="pool",rpc="PoolService/Describe",code="OK"} ${calls}`,
      `${RPC}_bucket{le="+Inf",service="pool",rpc="PoolService/Describe",code="OK"} ${calls}`,
      'ckv_bundle_loaded{bundle="b1",state="active"} 1',
      'ckv_bundle_loaded{bundle="b2",state="warming"} 0',
      'ckv_held_partitions 8',
      'nodejs_eventloop_lag_p99_seconds 0.02',
    ].join('\n');
  const [pool] = fleetFigures([scrape('a', 0, text(0))], [scrape('a', 1_000, text(10))]).processes;
  expect(pool).toMatchObject({ callsPerS: 10, loadingIds: ['b2'], heldPartitions: 8, loopP99Seconds: 0.02 });
  expect(pool?.callSeconds.p99).toBeLessThan(0.01);
  expect(pool?.upSeconds).toBeNaN();
});

it('is made of the named metrics alone', () => {
  const before = scrape('a', 0, ranking(1, 0, 0));
  const now = scrape('a', 1_000, ranking(9, 2, 1));
  const thin = ({ samples, ...rest }: Scrape) => ({
    ...rest,
    samples: samples.filter(({ name }) => FIGURED_METRICS.test(name)),
  });
  const noise = parseMetrics('other_total 1\nckv_rank_graph_runs_total 2');
  expect(fleetFigures([thin(before)], [thin({ ...now, samples: [...now.samples, ...noise] })])).toEqual(
    fleetFigures([before], [now]),
  );
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
