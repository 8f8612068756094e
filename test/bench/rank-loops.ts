import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError } from '@collectivekv/domain';
import type { Served } from './arms.js';
import { cpuSeconds } from './usage.js';

/** Time of a rank call in ms: measured by the caller, and by the service for each of its stages. */
export interface RankTimes {
  readonly caller: number;
  readonly fetch: number;
  readonly assemble: number;
  readonly attend: number;
  readonly service: number;
}

/** Measurements of rank calls, one after another. */
export interface SerialRanks {
  readonly times: RankTimes[];
  /** Processor seconds of each service for all calls, by service name. */
  readonly cpuSeconds: ReadonlyMap<string, number>;
}

/** Size of a rank request. */
export interface RankLoad {
  readonly positions: number;
  readonly candidates: number;
}

/** Number of timed calls, and their time limit. */
export interface SerialLimits {
  readonly runs: number;
  readonly budgetMs: number;
  /** Calls before the timed calls. A process that was idle has cold caches. */
  readonly settleRuns: number;
}

const LEAST_RUNS = 3;
const WARM_UP_IN_FLIGHT = 8;

/**
 * Makes calls one after another, and returns the time of each in ms. Stops after `runs` calls, or when the budget is
 * spent and at least three calls were made.
 */
export async function timeSerially(
  call: () => Promise<unknown>,
  { runs, budgetMs, settleRuns }: SerialLimits,
): Promise<number[]> {
  if (settleRuns > 0) await timeSerially(call, { runs: settleRuns, budgetMs: budgetMs / 4, settleRuns: 0 });
  const times: number[] = [];
  const begunMs = performance.now();
  while (times.length < runs) {
    const startedMs = performance.now();
    if (times.length >= LEAST_RUNS && startedMs - begunMs > budgetMs) break;
    await call();
    times.push(performance.now() - startedMs);
  }
  return times;
}

/** Makes rank calls one after another, and measures them. */
export async function rankSerially(
  arm: Served,
  { positions, candidates }: RankLoad,
  { settleRuns, ...limits }: SerialLimits,
): Promise<SerialRanks> {
  await timeSerially(() => arm.rank(positions, candidates), { ...limits, runs: settleRuns, settleRuns: 0 });
  const inService: Omit<RankTimes, 'caller'>[] = [];
  const before = await cpuSeconds(arm.services);
  const callers = await timeSerially(
    async () => {
      const { info } = await arm.rank(positions, candidates);
      const { fetchUs = 0, assembleUs = 0, attendUs = 0, totalUs = 0 } = info.timings ?? {};
      const [fetch = 0, assemble = 0, attend = 0, service = 0] = [fetchUs, assembleUs, attendUs, totalUs].map(
        (us) => us / 1_000,
      );
      inService.push({ fetch, assemble, attend, service });
    },
    { ...limits, settleRuns: 0 },
  );
  const after = await cpuSeconds(arm.services);
  const nothing = { fetch: 0, assemble: 0, attend: 0, service: 0 };
  return {
    times: callers.map((caller, i) => ({ caller, ...(inService[i] ?? nothing) })),
    cpuSeconds: new Map([...after].map(([name, seconds]) => [name, seconds - (before.get(name) ?? 0)])),
  };
}

/**
 * Makes rank calls until the processes are warm: code is compiled and heaps have grown. In a service's first seconds a
 * call takes twice as long.
 */
export async function warmUp(arm: Served, load: RankLoad, { calls, budgetMs }: { calls: number; budgetMs: number }) {
  await arm.hold(load.positions);
  const untilMs = performance.now() + budgetMs;
  let left = calls;
  const lane = async () => {
    while (left-- > 0 && performance.now() < untilMs) await rankOrWait(arm, load);
  };
  await Promise.all(Array.from({ length: WARM_UP_IN_FLIGHT }, lane));
}

/** Makes rank calls with `inFlight` in flight for `durationMs`, and returns the answers per second. */
export async function rankConcurrently(
  arm: Served,
  load: RankLoad,
  { inFlight, durationMs }: { inFlight: number; durationMs: number },
): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  const lane = async () => {
    while (performance.now() - startedMs < durationMs) {
      if (await rankOrWait(arm, load)) count++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return (count * 1_000) / (performance.now() - startedMs);
}

/** Makes a rank call. If it is refused, because more calls wait than should, waits as long as the service asks for. */
async function rankOrWait(arm: Served, { positions, candidates }: RankLoad): Promise<boolean> {
  try {
    await arm.rank(positions, candidates);
    return true;
  } catch (error) {
    if (!(error instanceof CkvError) || error.reason !== 'overloaded') throw error;
    await sleep(error.retryAfterMs ?? 0);
    return false;
  }
}
