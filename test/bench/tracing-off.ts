// Measures what tracing costs a Rank while no collector is named: `node test/bench/dist/tracing-off.js`. It runs the hops
// of a Rank in ranking with the helpers of packages/tracing, and the same work without them. The difference is written
// to test/bench/results/tracing-off.json, and `npm run docs` writes it into docs/observability.md.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { inSpan, inSpanOfCall, noteInSpan, startsSpans } from '@collectivekv/tracing';
import { median } from './statistics.js';

const RESULTS = fileURLToPath(new URL('../results/tracing-off.json', import.meta.url));
const ROUNDS = 41;
const RANKS_PER_ROUND = 50_000;
/** All stages: most Ranks have three of them. */
const STAGES = ['fetch', 'encode', 'gather', 'assemble', 'attend'].map((name) => ({ name }));
const REDIS = { name: 'redis', kind: 'client' } as const;
const CALL = { name: 'RankingService/Rank', traceparent: '' };

let done = 0;
const work = async () => void done++;
const note = () => ({ 'ckv.rung': 'full', 'ckv.position_count': done });

/** The call, its stages, a step in Redis and a note, each as a service has it. */
const withHelpers = () =>
  inSpanOfCall(
    () => CALL,
    async () => {
      for (const stage of STAGES) await inSpan(stage, async () => work());
      await inSpan(REDIS, work);
      noteInSpan(note);
    },
  );

/** The same work: what a service would do if there was no tracing. */
const withoutHelpers = async () => {
  for (const _ of STAGES) await work();
  await work();
};

/** Returns the processor time of a Rank's hops, ns. */
async function nsPerRank(rank: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  for (let i = 0; i < RANKS_PER_ROUND; i++) await rank();
  const { user, system } = process.cpuUsage(before);
  return (1_000 * (user + system)) / RANKS_PER_ROUND;
}

if (startsSpans()) throw new Error('this process starts spans; run it without a collector');
const costs: number[] = [];
for (let round = -1; round < ROUNDS; round++) {
  const [before, after] = [await nsPerRank(withoutHelpers), await nsPerRank(withHelpers)];
  if (round >= 0) costs.push(after - before); // the first round compiles
}
const ns = Math.round(median(costs));
const machine = { node: process.version, cpu: cpus()[0]?.model ?? 'unknown' };
const date = new Date().toISOString().slice(0, 10);
const helpers = STAGES.length + 3;
writeFileSync(RESULTS, `${JSON.stringify({ date, ...machine, helpers, rounds: ROUNDS, nsPerRank: ns }, null, 2)}\n`);
console.log(`${helpers} calls of helpers cost a Rank ${ns} ns while tracing is off; written to ${RESULTS}`);
