// `npm run bench`: the figures of docs/benchmarks.md, all arms in one run, interleaved. `--quick` runs fewer.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBundle } from '@collectivekv/bundles';
import { createCollectiveKvClient } from '@collectivekv/client';
import { startStack } from '@collectivekv/dev-stack';
import { createGrpcClient } from '@collectivekv/grpc-client';
import { median, type RankTimes, rankConcurrently, rankSerially, startBareGraph } from './arms.js';
import { type Row, writeReport } from './report.js';
import { noopRate, updateRate } from './updates.js';
import { CANDIDATES, candidatesOf, makeBenchBundle, randomRows, recordOf } from './workload.js';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 3 : 7;
const RUNS = quick ? 20 : 60;
const LENGTHS = [100, 1_000, 10_000, 50_000];
const FULL_KV_BYTES = 2 * 256 * 4;

const rows: Row[] = [];
const add = (name: string, params: string, value: number, unit = '', target = '') => {
  rows.push({ name, params, value, unit, target });
  console.log(`${name} (${params}): ${value.toPrecision(4)} ${unit} ${target && `target ${target}`}`);
};

const dir = mkdtempSync(join(tmpdir(), 'ckv-bench-'));
const bundleDir = makeBenchBundle('bundles/demo', join(dir, 'bundle'));
const { model } = await openBundle(bundleDir);
const stack = await startStack({
  dir: join(dir, 'stack'),
  bundlesDir: bundleDir,
  env: { ranking: { CKV_WORKERS: '2' } },
});
const client = createCollectiveKvClient({ rankingTarget: stack.targets.ranking, rankTimeoutMs: 60_000 });
const userCache = createGrpcClient('UserCacheService', stack.targets['user-cache'], {
  CKV_TOKEN: '',
  CKV_TLS_CA_FILE: '',
});
const bare = await Promise.all([startBareGraph(bundleDir), startBareGraph(bundleDir)]);
const [bareGraph] = bare;
const { ids } = candidatesOf(model, CANDIDATES, 7);
const inputOf = (positions: number) => ({ userId: `length-${positions}`, candidateIds: ids });

try {
  await bytes();
  await latency();
  await throughput();
  await collapse();
  await updates();
  writeReport(rows, { results: 'test/bench/results/latest.json', page: 'docs/benchmarks.md' });
  console.log('written to docs/benchmarks.md and test/bench/results/latest.json');
} finally {
  for (const one of bare) one.close();
  client.close();
  userCache.close();
  await stack.stop();
  rmSync(dir, { recursive: true, force: true });
}

/** Redis's own MEMORY USAGE of a record, key included, over the full float32 cache of as many positions. */
async function bytes(): Promise<void> {
  const targets = new Map([
    [100, '<= 0.0055'],
    [1_000, '<= 0.003'],
  ]);
  let before = 0;
  for (const positions of LENGTHS) {
    const record = Buffer.from(recordOf(model, randomRows(model, positions, positions)));
    await userCache.call('ReplaceRecord', { bundleId: model.id, userId: `length-${positions}`, record });
    const { memoryBytes } = await userCache.call('Stats', { bundleId: '', maxRecords: 0 });
    const ratio = (memoryBytes - before) / (positions * FULL_KV_BYTES);
    before = memoryBytes;
    add('bytes_ratio', `positions ${positions}, pool 256, tied routes`, ratio, '', targets.get(positions));
  }
}

/** One request in flight, over history lengths; the bare graph between the rounds of the service. */
async function latency(): Promise<void> {
  const served = new Map<number, number[]>(LENGTHS.map((positions) => [positions, []]));
  const alone = new Map<number, number[]>(LENGTHS.map((positions) => [positions, []]));
  const stages: RankTimes[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    for (const positions of LENGTHS) {
      const bareMs = await bareGraph.run({ graph: 'rank', positions, candidates: CANDIDATES, runs: RUNS });
      const ranked = await rankSerially(client, inputOf(positions), RUNS);
      if (round === 0) continue; // warm-up
      alone.get(positions)?.push(median(bareMs));
      served.get(positions)?.push(median(ranked.map(({ caller }) => caller)));
      if (positions === 1_000) stages.push(...ranked);
    }
  }
  const p50 = (times: Map<number, number[]>, positions: number) => median(times.get(positions) ?? []);
  for (const positions of LENGTHS) {
    const params = `candidates ${CANDIDATES}, positions ${positions}`;
    add('bare_graph_p50', params, p50(alone, positions), 'ms');
    add('rank_p50', params, p50(served, positions), 'ms');
    const target = positions === 1_000 ? '<= 1.35' : '';
    add('rank_over_bare', params, p50(served, positions) / p50(alone, positions), '', target);
  }
  for (const stage of ['fetch', 'assemble', 'attend', 'service', 'caller'] as const) {
    const ms = median(stages.map((times) => times[stage]));
    add('rank_stage_p50', `${stage}, candidates ${CANDIDATES}, positions 1000`, ms, 'ms');
  }
  add('length_growth', 'positions 10000 over 1000', p50(served, 10_000) / p50(served, 1_000), '', '<= 1.3');
  add('length_growth', 'positions 50000 over 1000', p50(served, 50_000) / p50(served, 1_000), '', '<= 2');
}

/** 16 requests in flight against two bare loops on the same cores. */
async function throughput(): Promise<void> {
  const durationMs = quick ? 2_000 : 5_000;
  const served: number[] = [];
  const alone: number[] = [];
  for (let round = 0; round < 3; round++) {
    const startedMs = performance.now();
    const runs = quick ? 150 : 400;
    await Promise.all(bare.map((one) => one.run({ graph: 'rank', positions: 1_000, candidates: CANDIDATES, runs })));
    alone.push((2 * runs * 1_000) / (performance.now() - startedMs));
    served.push(await rankConcurrently(client, inputOf(1_000), { inFlight: 16, durationMs }));
  }
  const params = `16 in flight, candidates ${CANDIDATES}, positions 1000`;
  add('bare_graph_rate', `two loops, candidates ${CANDIDATES}, positions 1000`, median(alone), '/s');
  add('rank_rate', params, median(served), '/s');
  add('throughput_over_bare', params, median(served) / median(alone), '', '>= 0.7');
  const [ranking] = stack.services.ranking;
  const text = await (await fetch(`http://${ranking?.metricsAddress}/metrics`)).text();
  const lagS = Number(/^nodejs_eventloop_lag_p99_seconds\S* (\S+)/m.exec(text)?.[1]);
  add(
    'event_loop_delay_p99',
    'ranking, under that load; sampling it every 10 ms puts its floor there',
    lagS * 1_000,
    'ms',
    '<= 10',
  );
}

/** The graph that attends over distinct slots against the one over assembled positions; one thread, nothing around. */
async function collapse(): Promise<void> {
  const targets = new Map([
    [1_000, '>= 2'],
    [10_000, '>= 20'],
    [50_000, '>= 80'],
  ]);
  for (const [positions, target] of targets) {
    const runs = Math.max(3, Math.floor((quick ? 10_000 : 30_000) / positions));
    const times = { rank: [] as number[], rankKv: [] as number[] };
    for (let round = 0; round < 3; round++) {
      for (const graph of ['rank', 'rankKv'] as const) {
        times[graph].push(median(await bareGraph.run({ graph, positions, candidates: CANDIDATES, runs })));
      }
    }
    const params = `positions ${positions}, pool 256, user head of 2 not coded`;
    add('collapse_speedup', params, median(times.rankKv) / median(times.rank), '', target);
  }
}

/** One job an interaction: ours from queue to record, against a worker that does nothing. */
async function updates(): Promise<void> {
  const count = quick ? 5_000 : 20_000;
  const [updater] = stack.services.updater;
  if (!updater) throw new Error('no updater');
  const ours = await updateRate(stack.redisUrl, updater, userCache, count);
  const noop = await noopRate(stack.redisUrl, count);
  add('update_rate', 'one job an interaction', ours, '/s');
  add('noop_rate', 'BullMQ worker, concurrency 50', noop, '/s');
  add('updates_over_noop', 'one job an interaction', ours / noop, '', '>= 0.5');
}
