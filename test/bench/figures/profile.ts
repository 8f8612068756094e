import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from '../bench-context.js';
import { type CpuProfile, timeShares } from '../cpu-profile.js';
import { rankConcurrently } from '../rank-loops.js';
import { RECOMMENDED } from '../trained-bundles.js';
import { CANDIDATES } from '../workload.js';

const LOAD = { positions: 1_000, candidates: CANDIDATES };
const IN_FLIGHT = 16;
/** A profile needs more samples than a rate. */
const SLICES = 2;
/** Owners with a smaller share are added up. */
const LEAST_SHARE = 0.01;
const POLL_MS = 20;
const WRITE_TIMEOUT_MS = 30_000;

/** Profiles ranking's main thread under full load: the cost of a request beside its graph, by package. */
export async function profile(bench: Bench): Promise<void> {
  const path = join(bench.dir, 'ranking.cpuprofile');
  const hook = new URL('../profile-hook.js', import.meta.url);
  const env = { NODE_OPTIONS: `--import=${hook}`, BENCH_PROFILE: path };
  const arm = await bench.startArm('profiled', bench.trained(RECOMMENDED), env);
  try {
    await arm.hold(LOAD.positions);
    const pid = arm.stack.services.ranking[0]?.pid ?? 0;
    process.kill(pid, 'SIGUSR2');
    await rankConcurrently(arm, LOAD, { inFlight: IN_FLIGHT, durationMs: SLICES * bench.options.sliceMs });
    process.kill(pid, 'SIGUSR2');
    const { busy, shares } = timeShares(await writtenProfile(path));
    const about = { 'in flight': IN_FLIGHT, ...LOAD };
    bench.add('main_thread_busy', about, busy);
    const rest = shares.filter(([, share]) => share < LEAST_SHARE).reduce((sum, [, share]) => sum + share, 0);
    for (const [owner, share] of [...shares.filter(([, one]) => one >= LEAST_SHARE), ['all others', rest] as const]) {
      bench.add('main_thread_share', { owner, ...about }, share);
    }
  } finally {
    await arm.close();
  }
}

/** Waits until the profile is complete, and returns it. */
async function writtenProfile(path: string): Promise<CpuProfile> {
  const untilMs = performance.now() + WRITE_TIMEOUT_MS;
  while (performance.now() < untilMs) {
    try {
      if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')) as CpuProfile;
    } catch {
      // the file is not complete yet
    }
    await sleep(POLL_MS);
  }
  throw new Error(`the CPU profile was not written within ${WRITE_TIMEOUT_MS / 1_000} s`);
}
