import { setTimeout as sleep } from 'node:timers/promises';
import type { Interaction } from '@collectivekv/domain';
import { type Bench, KEY_PREFIX } from '../bench-context.js';
import { type OpenLoopResult, openLoop } from '../open-loop.js';
import { createRounds } from '../rounds.js';
import { noopRate, openProducer, updateRate } from '../update-rates.js';
import { readMetrics } from '../usage.js';

/** Interactions of a round for each ms of a slice. */
const PER_SLICE_MS = 5;
const TARGET_SHARE = 0.5;
const PERCENTILES = [50, 99];
const USERS = 500;
/** Every 50th interaction is of a new user. Its latency ends when the user's record exists. */
const WATCH_EVERY = 50;
const POLL_MS = 5;
/** An open loop needs more time than a closed loop, for the tail of its latencies. */
const SLICES = 2;

/**
 * Compares the updater's rate with that of a worker that does nothing. Then measures event to servable at half the
 * rate.
 */
export async function updates(bench: Bench): Promise<void> {
  const { options } = bench;
  const count = options.sliceMs * PER_SLICE_MS;
  const seen = createRounds<string>();
  for (let round = 1; round <= options.rounds; round++) {
    bench.progress(`updates, ${count} jobs, round ${round} of ${options.rounds}`);
    seen.add('ours', await updateRate(bench, count, round));
    seen.add('noop', await noopRate(bench, count));
  }
  const ours = seen.median('ours');
  const about = { jobs: 'one per interaction' };
  bench.add('update_rate', about, ours, '/s');
  bench.add('noop_rate', { worker: 'BullMQ, concurrency 50' }, seen.median('noop'), '/s');
  bench.add('updates_over_noop', about, seen.ratio('ours', 'noop'), '', '>= 0.5');
  await servable(bench, ours * TARGET_SHARE);
}

async function servable(bench: Bench, ratePerS: number): Promise<void> {
  const { options } = bench;
  const seen = createRounds<string>();
  for (let round = 1; round <= options.rounds; round++) {
    bench.progress(`event to servable at ${Math.round(ratePerS)} per second, round ${round} of ${options.rounds}`);
    const before = await servableSeconds(bench);
    const { latency, sentCount, failedCount } = await recordAt(bench, ratePerS, 1_000 + round);
    if (failedCount > 0) throw new Error(`${failedCount} of ${sentCount} interactions could not be queued`);
    for (const percentile of PERCENTILES) seen.add(`p${percentile}`, latency.percentileMs(percentile));
    const after = await servableSeconds(bench);
    seen.add('seconds', after.sum - before.sum);
    seen.add('count', after.count - before.count);
  }
  const about = { 'offered /s': Math.round(ratePerS), 'share of the rate': TARGET_SHARE };
  bench.add('event_to_servable_p50', about, seen.median('p50'), 'ms');
  bench.add('event_to_servable_p99', about, seen.median('p99'), 'ms', '<= 100');
  const meanMs = (1_000 * seen.sum('seconds')) / seen.sum('count');
  bench.add('queued_to_servable_mean', { ...about, 'measured by': 'updater' }, meanMs, 'ms');
}

/** Queues interactions in an open loop. A latency ends when the new record of a watched user is in Redis. */
async function recordAt({ log, ours, redis, options }: Bench, ratePerS: number, seed: number): Promise<OpenLoopResult> {
  const durationMs = SLICES * options.sliceMs;
  const interactions = log.events(Math.ceil((2 * ratePerS * durationMs) / 1_000), { users: USERS, seed });
  const producer = openProducer(redis);
  const watched = (i: number) => i % WATCH_EVERY === 0;
  const result = await openLoop({
    ratePerS,
    durationMs,
    seed,
    counts: watched,
    async send(i) {
      const one = interactions[i] as Interaction;
      if (!watched(i)) return producer.enqueue([one]);
      const userId = `watched-${seed}-${i}`;
      await producer.enqueue([{ ...one, userId }]);
      const key = `${KEY_PREFIX}:{${userId}}:${ours.model.encodingId.slice(0, 8)}`;
      while ((await redis.exists(key)) === 0) await sleep(POLL_MS);
    },
  });
  await producer.close();
  return result;
}

/** Reads the updater's histogram of the time from queueing a job to storing its interactions in records. */
async function servableSeconds({ ours }: Bench): Promise<{ sum: number; count: number }> {
  const [updater] = ours.stack.services.updater;
  if (!updater) throw new Error('there is no updater');
  const metric = await readMetrics(updater);
  const name = 'ckv_queued_to_servable_seconds';
  return { sum: metric(`${name}_sum`), count: metric(`${name}_count`) };
}
