import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from '../bench-context.js';
import { type OpenLoopResult, openLoop } from '../open-loop.js';
import type { Mode } from '../options.js';
import { rankConcurrently } from '../rank-loops.js';
import { mean, slope } from '../statistics.js';
import { openProducer } from '../update-rates.js';
import { readMetrics } from '../usage.js';
import { CANDIDATES } from '../workload.js';

const SHARE = 0.5;
const INTERACTIONS_PER_S = 200;
const USERS = 500;
const LOAD = { positions: 1_000, candidates: CANDIDATES };
const MINUTE_MS = 60_000;
const SAMPLE_MS = 2_000;
/** Warm-up time and measured time, minutes. */
const MINUTES: Record<Mode, readonly [number, number]> = {
  full: [0.25, 1],
  quick: [0.05, 0.2],
  soak: [1, 10],
  overload: [0, 0],
  switches: [0, 0],
};

/**
 * Measures the growth of the services' resident memory under steady load of ranks and interactions, by least squares.
 */
export async function memory(bench: Bench): Promise<void> {
  const { ours, options } = bench;
  const [warmUpMinutes, minutes] = MINUTES[options.mode];
  await ours.hold(LOAD.positions);
  const ratePerS = SHARE * (await rankConcurrently(ours, LOAD, { inFlight: 16, durationMs: options.sliceMs }));
  const durationMs = (warmUpMinutes + minutes) * MINUTE_MS;
  const loads = [rankAt(bench, ratePerS, durationMs), recordAt(bench, durationMs)];
  bench.progress(`memory: warm-up, ${Math.round(ratePerS)} ranks and ${INTERACTIONS_PER_S} interactions per second`);
  await sleep(warmUpMinutes * MINUTE_MS);
  const samples = new Map<string, [minute: number, bytes: number][]>();
  const startedMs = performance.now();
  for (let i = 0; performance.now() - startedMs < minutes * MINUTE_MS; i++) {
    const minute = (performance.now() - startedMs) / MINUTE_MS;
    if (i % 15 === 0) bench.progress(`memory under load, minute ${minute.toFixed(1)} of ${minutes}`);
    for (const service of Object.values(ours.stack.services).flat()) {
      const metric = await readMetrics(service);
      const known = samples.get(service.name) ?? [];
      samples.set(service.name, [...known, [minute, metric('process_resident_memory_bytes')]]);
    }
    await sleep(SAMPLE_MS);
  }
  const results = await Promise.all(loads);
  const sumOf = (count: (result: OpenLoopResult) => number) => results.reduce((sum, one) => sum + count(one), 0);
  const failed = sumOf(({ failedCount }) => failedCount) / sumOf(({ sentCount }) => sentCount);
  const note = options.mode === 'soak' ? 'soak' : 'short';
  for (const [failure, count] of results.flatMap(({ failures }) => [...failures])) {
    bench.progress(`${count} requests failed: ${failure}`);
  }
  bench.add('steady_load_failed', { minutes, note }, failed, '', '<= 0');
  for (const [service, points] of samples) {
    const residentBytes = mean(points.map(([, bytes]) => bytes));
    const about = { service, minutes, note };
    bench.add('rss', about, residentBytes / 1e6, 'MB');
    bench.add('rss_slope', about, slope(points) / residentBytes, '/min', options.mode === 'soak' ? '<= 0.01' : '');
  }
}

async function rankAt({ ours }: Bench, ratePerS: number, durationMs: number): Promise<OpenLoopResult> {
  const send = () => ours.rank(LOAD.positions, LOAD.candidates);
  return openLoop({ ratePerS, durationMs, seed: 1, send });
}

async function recordAt({ log, redis }: Bench, durationMs: number): Promise<OpenLoopResult> {
  const count = Math.ceil((2 * INTERACTIONS_PER_S * durationMs) / 1_000);
  const interactions = log.events(count, { users: USERS, seed: 5_000 });
  const producer = openProducer(redis);
  const send = async (i: number) => producer.enqueue(interactions.slice(i, i + 1));
  const result = await openLoop({ ratePerS: INTERACTIONS_PER_S, durationMs, seed: 2, send });
  await producer.close();
  return result;
}
