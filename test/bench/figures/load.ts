import type { Bench } from '../bench-context.js';
import { openLoop } from '../open-loop.js';
import { rankConcurrently } from '../rank-loops.js';
import { createRounds } from '../rounds.js';
import { CANDIDATES } from '../workload.js';

const SHARES = [0.2, 0.4, 0.6, 0.8, 0.9];
const PERCENTILES = [50, 90, 99, 99.9];
const CAPACITY_IN_FLIGHT = 16;
const RATE = { positions: 1_000, candidates: CANDIDATES };
/** An open loop needs more time than a closed loop, for the tail of its latencies. */
const SLICES = 2;

/** Measures latency percentiles by offered load. Arrivals are random, and a latency starts when its request was due. */
export async function load(bench: Bench): Promise<void> {
  const { ours, options } = bench;
  await ours.hold(RATE.positions);
  bench.progress('capacity of ranking');
  const closed = { inFlight: CAPACITY_IN_FLIGHT, durationMs: options.sliceMs };
  await rankConcurrently(ours, RATE, closed); // warm-up
  const capacity = await rankConcurrently(ours, RATE, closed);
  const seen = createRounds<readonly [what: string, share: number]>();
  for (let round = 1; round <= options.rounds; round++) {
    for (const share of SHARES) {
      bench.progress(`offered load ${share} of ${Math.round(capacity)} /s, round ${round} of ${options.rounds}`);
      const { latency, lateness, sentCount, failedCount } = await openLoop({
        ratePerS: share * capacity,
        durationMs: SLICES * options.sliceMs,
        seed: round,
        send: () => ours.rank(RATE.positions, RATE.candidates),
      });
      for (const percentile of PERCENTILES) seen.add([`p${percentile}`, share], latency.percentileMs(percentile));
      seen.add(['late', share], lateness.percentileMs(99));
      seen.add(['sent', share], sentCount);
      seen.add(['failed', share], failedCount);
    }
  }
  bench.add('capacity', { 'in flight': CAPACITY_IN_FLIGHT, ...RATE }, capacity, '/s');
  for (const share of SHARES) {
    const about = { load: share, 'offered /s': Math.round(share * capacity) };
    for (const percentile of PERCENTILES.map((value) => `p${value}`)) {
      bench.add('open_loop_latency', { percentile, ...about }, seen.median([percentile, share]), 'ms');
    }
    bench.add('open_loop_sent_late_p99', about, seen.median(['late', share]), 'ms');
    bench.add('open_loop_failed', about, seen.sum(['failed', share]) / seen.sum(['sent', share]));
  }
}
