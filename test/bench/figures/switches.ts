import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundleIdOf } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import type { Arm } from '../arms.js';
import type { Bench } from '../bench-context.js';
import { createLatencyHistogram, type LatencyHistogram } from '../latency-histogram.js';
import { openLoop } from '../open-loop.js';
import { rankConcurrently } from '../rank-loops.js';
import { median, slope } from '../statistics.js';
import { RECOMMENDED } from '../trained-bundles.js';
import { readMetrics } from '../usage.js';
import { CANDIDATES } from '../workload.js';

const SWITCHES = 50;
/** The loads and the times without switches alternate: the speed of a machine changes from minute to minute. */
const SWITCHES_OF_ROUND = 5;
/** Switches before the memory counts. */
const SETTLED = 10;
/** Offered loads, as shares of the rate that a closed loop reaches. A round has one of them, in turn. */
const SHARES = [0.2, 0.4] as const;
const LOAD = { positions: 1_000, candidates: CANDIDATES };
/** Three bundles take turns: the one to activate is never the one that is kept for a rollback. */
const NAMES = ['one', 'two', 'three'] as const;
/** The bundle that was replaced is released soon after a switch. Requests of this time count as during the switches. */
const RELEASE_MS = 1_000;
/** Ranking reports every 2 s what it has loaded. Polling often would take processor time from the requests. */
const REPORTS_POLLED_MS = 100;

/** Measurements of one load. */
interface UnderLoad {
  readonly share: number;
  readonly ratePerS: number;
  sentCount: number;
  failedCount: number;
  /** Latencies of each round's requests that were sent before the switches. */
  readonly without: LatencyHistogram[];
  /** Of those that were sent during the switches. */
  readonly during: LatencyHistogram[];
}

interface Switched {
  /** From the call of Activate to the first answer by the new bundle, ms. */
  readonly switchMs: number[];
  /** From the call of SetCandidate until ranking has loaded the bundle, ms. */
  readonly loadMs: number[];
  /** Resident memory of ranking, bytes, by the number of switches before. */
  readonly residentBytes: [switches: number, bytes: number][];
}

/**
 * Switches between bundles under steady load: each is loaded beside the active one, and becomes active when ranking has
 * loaded it. Compares latency with the times between, and memory with that after the first switches.
 */
export async function switches(bench: Bench): Promise<void> {
  const arm = await startSwitchArm(bench);
  const pool = createGrpcClient('PoolService', arm.stack.targets.pool);
  const ids = NAMES.map((name) => bundleIdOf(readFileSync(join(foldersOf(bench), name, 'bundle.json'))));
  try {
    const fullPerS = await rankConcurrently(arm, LOAD, { inFlight: 16, durationMs: bench.options.sliceMs });
    const loads: UnderLoad[] = SHARES.map((share) => {
      return { share, ratePerS: share * fullPerS, sentCount: 0, failedCount: 0, without: [], during: [] };
    });
    const switched: Switched = { switchMs: [], loadMs: [], residentBytes: [] };
    for (let done = 0; done < SWITCHES; done += SWITCHES_OF_ROUND) {
      const load = loads[(done / SWITCHES_OF_ROUND) % loads.length] as UnderLoad;
      bench.progress(`${done} of ${SWITCHES} switches; ${Math.round(load.ratePerS)} ranks per second`);
      await underLoad(bench, arm, load, async () => {
        for (let i = 1; i <= SWITCHES_OF_ROUND; i++) {
          await switchTo(ids[(done + i) % ids.length] ?? '', arm, pool, switched);
        }
      });
      switched.residentBytes.push([done + SWITCHES_OF_ROUND, await residentBytesOf(arm)]);
    }
    report(bench, loads, switched);
  } finally {
    pool.close();
    await arm.close();
  }
}

/** Ranks under a load: first for a slice of time, then while `work` goes on and a little longer. */
async function underLoad(bench: Bench, arm: Arm, load: UnderLoad, work: () => Promise<void>): Promise<void> {
  const [without, during] = [createLatencyHistogram(), createLatencyHistogram()];
  let latency = without;
  let done = false;
  const ranking = openLoop({
    ratePerS: load.ratePerS,
    durationMs: Number.POSITIVE_INFINITY,
    seed: 1,
    async send(_, dueMs) {
      const { record } = latency;
      await arm.rank(LOAD.positions, LOAD.candidates).finally(() => record(performance.now() - dueMs));
    },
    ended: () => done,
  });
  try {
    await sleep(bench.options.sliceMs);
    latency = during;
    await work();
    await sleep(RELEASE_MS);
  } finally {
    done = true;
  }
  const { sentCount, failedCount, failures } = await ranking;
  for (const [failure, count] of failures) bench.progress(`${count} requests failed: ${failure}`);
  load.sentCount += sentCount;
  load.failedCount += failedCount;
  load.without.push(without);
  load.during.push(during);
}

async function switchTo(
  bundleId: string,
  arm: Arm,
  pool: GrpcClient<'PoolService'>,
  switched: Switched,
): Promise<void> {
  const startedMs = performance.now();
  await pool.call('SetCandidate', { bundleId });
  await until(async () => (await loadedBy(pool, bundleId)).includes('ranking'), REPORTS_POLLED_MS);
  const loadedMs = performance.now();
  await pool.call('Activate', { bundleId });
  await until(async () => (await arm.rank(LOAD.positions, LOAD.candidates)).info.bundleId === bundleId);
  switched.loadMs.push(loadedMs - startedMs);
  switched.switchMs.push(performance.now() - loadedMs);
}

/** Returns the services that have loaded a bundle. */
async function loadedBy(pool: GrpcClient<'PoolService'>, bundleId: string): Promise<string[]> {
  const { followers } = await pool.call('ListFollowers', {});
  return followers.flatMap(({ service, bundles }) =>
    bundles.some((one) => one.bundleId === bundleId && one.loaded) ? [service] : [],
  );
}

function report(bench: Bench, loads: readonly UnderLoad[], switched: Switched): void {
  for (const { share, ratePerS, sentCount, failedCount, without, during } of loads) {
    const about = { load: share, 'offered /s': Math.round(ratePerS) };
    const percentileMs = (of: readonly LatencyHistogram[], percentage: number) =>
      median(of.map((one) => one.percentileMs(percentage)));
    const [p99WithoutMs, p99Ms] = [percentileMs(without, 99), percentileMs(during, 99)];
    bench.add('switch_requests', about, sentCount);
    bench.add('switch_failed', about, failedCount, '', '<= 0');
    bench.add('switch_p50_without', about, percentileMs(without, 50), 'ms');
    bench.add('switch_p50', about, percentileMs(during, 50), 'ms');
    bench.add('switch_p99_without', about, p99WithoutMs, 'ms');
    bench.add('switch_p99', about, p99Ms, 'ms');
    bench.add('switch_p99_over_without', about, p99Ms / p99WithoutMs, '', '<= 1.5');
  }
  const about = { switches: SWITCHES };
  const settled = switched.residentBytes.filter(([count]) => count >= SETTLED);
  const settledBytes = settled[0]?.[1] ?? Number.NaN;
  bench.add('switch_load', about, median(switched.loadMs), 'ms');
  bench.add('switch_time', about, median(switched.switchMs), 'ms');
  bench.add('switch_rss_settled', about, settledBytes / 1e6, 'MB');
  bench.add('switch_rss', about, (settled.at(-1)?.[1] ?? Number.NaN) / 1e6, 'MB');
  bench.add('switch_rss_growth', about, ((SWITCHES - SETTLED) * slope(settled)) / settledBytes, '', '<= 0.05');
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
  const ranking = { NODE_OPTIONS: `--import ${new URL('../collect-hook.js', import.meta.url)}` };
  const arm = await bench.startArm('switches', bundle, ranking, { bundlesDir: folder, pool });
  for (const { pid } of [...arm.stack.services.pool, ...arm.stack.services['user-cache']]) lowerPriority(pid);
  await arm.hold(LOAD.positions);
  return arm;
}

const foldersOf = ({ dir }: Bench) => join(dir, 'switched-bundles');

/**
 * Gives all threads of a process the lowest priority: it loads each bundle as well, but would do so on another machine.
 */
function lowerPriority(pid: number): void {
  const threads = `/proc/${pid}/task`; // Linux knows priorities of threads only
  const ids = existsSync(threads) ? readdirSync(threads).map(Number) : [pid];
  for (const id of ids) setPriority(id, constants.priority.PRIORITY_LOW);
}

/** Returns the resident memory of ranking without garbage, bytes: the lowest of some readings. */
async function residentBytesOf({ services }: Arm): Promise<number> {
  for (const { pid } of services) process.kill(pid, 'SIGUSR2');
  const readings: number[] = [];
  for (let i = 0; i < 5; i++) {
    await sleep(200);
    for (const service of services) readings.push((await readMetrics(service))('process_resident_memory_bytes'));
  }
  return Math.min(...readings);
}

async function until(reached: () => Promise<boolean>, pauseMs = 20): Promise<void> {
  while (!(await reached())) await sleep(pauseMs);
}
