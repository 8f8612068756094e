// `npm run drill`: brings new models into a running system under load. `npm run drill -- --help` has the options.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ArmOutcome } from './arm-outcome.js';
import { ARMS, type DrillOptions, readOptions, USAGE } from './options.js';
import { BUNDLES, ROOT } from './paths.js';
import { type DrillSize, runArm } from './run-arm.js';
import { trainBundles } from './train.js';

const RESULTS = join(ROOT, 'test/drill/results');
const FULL: DrillSize = {
  users: 160,
  historyLength: 60,
  interactionsPerSecond: 120,
  ranksPerSecond: 60,
  steadyMs: 15_000,
  switchMs: 8_000,
  leastInteractions: 20_000,
  backfillKills: 3,
  backfillRate: 1_000,
};
const QUICK: DrillSize = {
  users: 48,
  historyLength: 50,
  interactionsPerSecond: 100,
  ranksPerSecond: 60,
  steadyMs: 2_000,
  switchMs: 2_500,
  leastInteractions: 0,
  backfillKills: 1,
  backfillRate: 800,
};

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

try {
  const options = readOptions(process.argv.slice(2));
  if (!options) console.log(USAGE);
  else process.exitCode = (await run(options)) ? 0 : 1;
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
process.exit();

async function run({ seed, quick, arm: only, writeBundles }: DrillOptions): Promise<boolean> {
  console.log(`seed ${seed}`);
  if (writeBundles) {
    await trainBundles(BUNDLES, console.log);
    return true;
  }
  const bundlesFrom = quick ? BUNDLES : join(ROOT, '.ckv/drill/bundles');
  if (!quick) await trainBundles(bundlesFrom, console.log);
  const keepLogsIn = mkdtempSync(join(tmpdir(), 'ckv-drill-logs-'));
  const outcomes: ArmOutcome[] = [];
  for (const arm of quick ? ['kills'] : ARMS.filter((name) => !only || name === only)) {
    const onProgress = (text: string) => console.log(`${arm.padEnd(6)} ${text}`);
    const size = quick ? QUICK : FULL;
    const outcome = await runArm({ arm, kills: arm === 'kills', seed, size, bundlesFrom, keepLogsIn, onProgress });
    outcomes.push(outcome);
    console.table(outcome.phases);
    const { phases: _, problems, ...counts } = outcome;
    console.log(JSON.stringify(counts));
    for (const problem of problems) console.log(`PROBLEM ${problem}`);
    if (problems.length > 0) console.log(`logs in ${join(keepLogsIn, arm)}`);
  }
  if (!quick && !only) {
    mkdirSync(RESULTS, { recursive: true });
    const result = { date: new Date().toISOString().slice(0, 10), seed, arms: outcomes };
    writeFileSync(join(RESULTS, 'latest.json'), `${JSON.stringify(result, null, 2)}\n`);
  }
  return outcomes.every(({ problems }) => problems.length === 0);
}
