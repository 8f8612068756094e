import type { Served } from './arms.js';
import { cpuSeconds } from './usage.js';

/** Milliseconds of a rank call: seen by the caller, and by the service in each of its stages. */
export interface RankTimes {
  readonly caller: number;
  readonly fetch: number;
  readonly assemble: number;
  readonly attend: number;
  readonly service: number;
}

/** Calls one after the other. */
export interface SerialRanks {
  readonly times: RankTimes[];
  /** Processor seconds that each service took for all of them, by its name. */
  readonly cpuSeconds: ReadonlyMap<string, number>;
}

/** What to rank. */
export interface RankLoad {
  readonly positions: number;
  readonly candidates: number;
}

/** How many calls are timed, and for how long at the most. */
export interface SerialLimits {
  readonly runs: number;
  readonly budgetMs: number;
  /** Calls before those: a process that stood idle while others had their turn finds its caches cold. */
  readonly settleRuns: number;
}

const LEAST_RUNS = 3;
const WARM_UP_IN_FLIGHT = 8;

/** Calls whatever one after the other, `runs` times or, after three, until the budget is spent; the ms of each. */
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

/** Rank calls one after the other. */
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
 * Rank calls until the processes are warm, their code compiled and their heaps grown: a service that answers for weeks is
 * not to be timed in its first seconds, when a call takes twice as long.
 */
export async function warmUp(arm: Served, load: RankLoad, { calls, budgetMs }: { calls: number; budgetMs: number }) {
  await arm.hold(load.positions);
  const untilMs = performance.now() + budgetMs;
  let left = calls;
  const lane = async () => {
    while (left-- > 0 && performance.now() < untilMs) await arm.rank(load.positions, load.candidates);
  };
  await Promise.all(Array.from({ length: WARM_UP_IN_FLIGHT }, lane));
}

/** Rank calls with so many in flight, for so long; calls a second. */
export async function rankConcurrently(
  arm: Served,
  { positions, candidates }: RankLoad,
  { inFlight, durationMs }: { inFlight: number; durationMs: number },
): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  const lane = async () => {
    while (performance.now() - startedMs < durationMs) {
      await arm.rank(positions, candidates);
      count++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return (count * 1_000) / (performance.now() - startedMs);
}
