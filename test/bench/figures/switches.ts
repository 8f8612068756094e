import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundleIdOf } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import type { Arm } from '../arms.js';
import type { Bench } from '../bench-context.js';
import { type OpenLoopResult, openLoop } from '../open-loop.js';
import { rankConcurrently } from '../rank-loops.js';
import { median } from '../statistics.js';
import { RECOMMENDED } from '../trained-bundles.js';
import { readMetrics } from '../usage.js';
import { CANDIDATES } from '../workload.js';

const SWITCHES = 50;
/** Switches before the first look at the memory. */
const SETTLED = 10;
/** Offered load, as a share of the rate that a closed loop reaches. */
const SHARE = 0.4;
const LOAD = { positions: 1_000, candidates: CANDIDATES };
/** Three bundles take turns: the one to activate is never the one that is kept for a rollback. */
const NAMES = ['one', 'two', 'three'] as const;
const BEFORE_SLICES = 6;
/** Ranking reports every 2 s what it has loaded. Polling often would take processor time from the requests. */
const REPORTS_POLLED_MS = 100;

/**
 * Switches between bundles under steady load: each is loaded beside the active one, and becomes active when ranking has
 * loaded it. Compares latency and memory with the time before.
 */
export async function switches(bench: Bench): Promise<void> {
  const arm = await startSwitchArm(bench);
  const pool = createGrpcClient('PoolService', arm.stack.targets.pool);
  try {
    const { sliceMs } = bench.options;
    const ratePerS = SHARE * (await rankConcurrently(arm, LOAD, { inFlight: 16, durationMs: sliceMs }));
    const rankAt = (durationMs: number, ended = () => false) =>
      openLoop({
        ratePerS,
        durationMs,
        seed: 1,
        send: () => arm.rank(LOAD.positions, LOAD.candidates),
        ended,
      });
    bench.progress(`${Math.round(ratePerS)} ranks per second, without switches`);
    const before = await rankAt(BEFORE_SLICES * sliceMs);
    bench.progress(`the same with ${SWITCHES} switches`);
    let done = false;
    const ranking = rankAt(Number.POSITIVE_INFINITY, () => done);
    const switched = await switchOften(bench, arm, pool).finally(() => {
      done = true;
    });
    report(bench, before, await ranking, switched);
  } finally {
    pool.close();
    await arm.close();
  }
}

interface Switched {
  /** From the call of Activate to the first answer by the new bundle, ms. */
  readonly switchMs: readonly number[];
  /** From the call of SetCandidate until ranking has loaded the bundle, ms. */
  readonly loadMs: readonly number[];
  /** Resident memory of ranking after {@link SETTLED} and after all switches, bytes. */
  readonly residentBytes: readonly [number, number];
}

async function switchOften(bench: Bench, arm: Arm, pool: GrpcClient<'PoolService'>): Promise<Switched> {
  const ids = NAMES.map((name) => bundleIdOf(readFileSync(join(foldersOf(bench), name, 'bundle.json'))));
  const [switchMs, loadMs, residentBytes]: [number[], number[], number[]] = [[], [], []];
  for (let i = 1; i <= SWITCHES; i++) {
    const bundleId = ids[i % ids.length] ?? '';
    const startedMs = performance.now();
    await pool.call('SetCandidate', { bundleId });
    await until(async () => (await loadedBy(pool, bundleId)).includes('ranking'), REPORTS_POLLED_MS);
    const loadedMs = performance.now();
    await pool.call('Activate', { bundleId });
    await until(async () => (await arm.rank(LOAD.positions, LOAD.candidates)).info.bundleId === bundleId);
    loadMs.push(loadedMs - startedMs);
    switchMs.push(performance.now() - loadedMs);
    if (i === SETTLED || i === SWITCHES) residentBytes.push(await residentBytesOf(arm));
  }
  return { switchMs, loadMs, residentBytes: residentBytes as [number, number] & number[] };
}

/** Returns the services that have loaded a bundle. */
async function loadedBy(pool: GrpcClient<'PoolService'>, bundleId: string): Promise<string[]> {
  const { followers } = await pool.call('ListFollowers', {});
  return followers.flatMap(({ service, bundles }) =>
    bundles.some((one) => one.bundleId === bundleId && one.loaded) ? [service] : [],
  );
}

function report(bench: Bench, before: OpenLoopResult, during: OpenLoopResult, switched: Switched): void {
  for (const [failure, count] of during.failures) bench.progress(`${count} requests failed: ${failure}`);
  const about = { switches: SWITCHES };
  const [settled, last] = switched.residentBytes;
  const p99 = ({ latency }: OpenLoopResult) => latency.percentileMs(99);
  bench.add('switch_failed', about, during.failedCount, '', '<= 0');
  bench.add('switch_requests', about, during.sentCount);
  bench.add('switch_p50_before', about, before.latency.percentileMs(50), 'ms');
  bench.add('switch_p50', about, during.latency.percentileMs(50), 'ms');
  bench.add('switch_p99_before', about, p99(before), 'ms');
  bench.add('switch_p99', about, p99(during), 'ms');
  bench.add('switch_p99_over_before', about, p99(during) / p99(before), '', '<= 1.5');
  bench.add('switch_load', about, median(switched.loadMs), 'ms');
  bench.add('switch_time', about, median(switched.switchMs), 'ms');
  bench.add('switch_rss_settled', about, settled / 1e6, 'MB');
  bench.add('switch_rss', about, last / 1e6, 'MB');
  bench.add('switch_rss_growth', about, last / settled - 1, '', '<= 0.05');
}

/** Starts services with copies of the recommended bundle. They have its encoding, so its records serve all of them. */
async function startSwitchArm(bench: Bench): Promise<Arm> {
  const source = bench.trained(RECOMMENDED);
  const folder = foldersOf(bench);
  for (const name of NAMES) {
    cpSync(source.dir, join(folder, name), { recursive: true });
    const path = join(folder, name, 'bundle.json');
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), name }));
  }
  const bundle = { ...source, dir: join(folder, NAMES[0]) };
  const pool = { CKV_ACTIVE_BUNDLE: NAMES[0] };
  const arm = await bench.startArm('switches', bundle, {}, { bundlesDir: folder, pool });
  await arm.hold(LOAD.positions);
  return arm;
}

const foldersOf = ({ dir }: Bench) => join(dir, 'switched-bundles');

/** Median of the resident memory over three seconds, bytes: garbage comes and goes. */
async function residentBytesOf({ services }: Arm): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < 7; i++) {
    for (const service of services) samples.push((await readMetrics(service))('process_resident_memory_bytes'));
    await sleep(500);
  }
  return median(samples);
}

async function until(reached: () => Promise<boolean>, pauseMs = 20): Promise<void> {
  while (!(await reached())) await sleep(pauseMs);
}
