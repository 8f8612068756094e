import { type Served, WORKERS } from '../arms.js';
import type { Bench } from '../bench-context.js';
import type { Baseline } from '../options.js';
import { rankConcurrently } from '../rank-loops.js';
import { createRounds } from '../rounds.js';
import { readMetrics } from '../usage.js';
import { CANDIDATES } from '../workload.js';

const IN_FLIGHT = { full: [1, 2, 4, 8, 16, 32], quick: [1, 4, 16, 32], soak: [] };
/** Requests in flight for the targets. */
const FULL_LOAD = 16;
/** The baseline that is also put under load. */
export const COMPARED_UNDER_LOAD: Baseline = 'full_fp16';
const LOAD = { positions: 1_000, candidates: CANDIDATES };
/** Period of the timer with which Node samples the event loop's delay, ms. Node's figure includes it. */
const SAMPLING_MS = 10;
const BARE_RUNS = 10_000;

/** Measures answers per second by requests in flight, and of bare loops: one for each worker, on the same cores. */
export async function throughput(bench: Bench): Promise<void> {
  const { ours, options } = bench;
  const arms: readonly Served[] = [
    ours,
    ours.unary,
    ...(options.baselines.includes(COMPARED_UNDER_LOAD) ? [await bench.arm(COMPARED_UNDER_LOAD)] : []),
  ];
  const durationMs = options.sliceMs;
  const inFlights = IN_FLIGHT[options.mode];
  for (const arm of arms) await arm.hold(LOAD.positions);
  const seen = createRounds<readonly [what: string, inFlight: number]>();
  for (let round = 0; round <= options.rounds; round++) {
    bench.progress(`throughput, ${round === 0 ? 'warm-up' : `round ${round} of ${options.rounds}`}`);
    const kept = round === 0 ? createRounds<readonly [string, number]>() : seen;
    kept.add(['bare', 0], await bareRate(bench, durationMs));
    for (const inFlight of round === 0 ? [FULL_LOAD] : inFlights) {
      for (const arm of arms) {
        await eventLoopDelayMs(arm); // resets the count
        kept.add([arm.name, inFlight], await rankConcurrently(arm, LOAD, { inFlight, durationMs }));
        kept.add([`${arm.name} delay`, inFlight], await eventLoopDelayMs(arm));
      }
    }
  }
  bench.add('bare_graph_rate', { loops: WORKERS, ...LOAD }, seen.median(['bare', 0]), '/s');
  for (const { name: arm } of arms) {
    for (const inFlight of inFlights) {
      bench.add('rank_rate', { arm, 'in flight': inFlight, ...LOAD }, seen.median([arm, inFlight]), '/s');
    }
  }
  const about = { 'in flight': FULL_LOAD, ...LOAD };
  bench.add('throughput_over_bare', about, seen.ratio([ours.name, FULL_LOAD], ['bare', 0]), '', '>= 0.75');
  bench.add('throughput_over_bare_unary', about, seen.ratio([ours.unary.name, FULL_LOAD], ['bare', 0]));
  bench.add(
    'event_loop_delay_p99',
    { service: 'ranking', ...about },
    seen.median([`${ours.name} delay`, FULL_LOAD]),
    'ms',
    '<= 10',
  );
}

/** Returns the runs per second of all bare graphs together. */
async function bareRate({ bare, histories }: Bench, budgetMs: number): Promise<number> {
  const { positions, candidates } = LOAD;
  const limits = { runs: BARE_RUNS, budgetMs, settleRuns: 0 };
  const request = { graph: 'rank', histories: await histories(positions), candidates, ...limits } as const;
  const answers = await Promise.all(bare.map((one) => one.run(request)));
  return answers.reduce((rate, { times, elapsedMs }) => rate + (times.length * 1_000) / elapsedMs, 0);
}

/** Returns the p99 delay of ranking's sampling timer since the last call, ms. */
async function eventLoopDelayMs({ stack }: Served): Promise<number> {
  const [ranking] = stack.services.ranking;
  if (!ranking) throw new Error('there is no ranking service');
  const metric = await readMetrics(ranking);
  return Math.max(0, metric('nodejs_eventloop_lag_p99_seconds') * 1_000 - SAMPLING_MS);
}
