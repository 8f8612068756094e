// `npm run chaos`: runs scenarios of faults. `npm run chaos -- --help` explains the options.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChaosOptions, readOptions, USAGE } from './options.js';
import { COUNTS } from './oracle/verdict.js';
import { createRandom } from './random.js';
import { writeResults } from './results.js';
import { type Outcome, runScenario } from './run-scenario.js';
import { runSabotages } from './sabotage.js';
import { SCENARIOS } from './scenarios.js';

const RESULTS = 'test/chaos/results/latest.json';
const NAMES = SCENARIOS.map(({ name }) => name);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

try {
  const options = readOptions(process.argv.slice(2), NAMES);
  if (!options) console.log(USAGE);
  else if (options.list) for (const { name, about } of SCENARIOS) console.log(`${name.padEnd(24)}${about}`);
  else if (options.sabotage) process.exitCode = (await sabotage(options.sabotage, options.seed)) ? 0 : 1;
  else process.exitCode = (await run(options)) ? 0 : 1;
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
process.exit();

function sabotage(names: readonly string[], seed: string): Promise<boolean> {
  return runSabotages(names.length > 0 ? names : undefined, seed);
}

async function run(options: ChaosOptions): Promise<boolean> {
  for (let round = 0; ; round++) {
    const seed = round === 0 ? options.seed : `${options.seed}-${round}`;
    const outcomes = await runOnce({ ...options, seed });
    if (options.json) console.log(JSON.stringify(outcomes));
    const ok = outcomes.every((outcome) => outcome.ok);
    if (!ok || !options.forever) return ok;
  }
}

async function runOnce({ seed, quick, only, onlyFaults, stopAt, parallel, keep }: ChaosOptions): Promise<Outcome[]> {
  console.log(`seed ${seed}`);
  const chosen = SCENARIOS.filter(({ name, quick: isQuick }) => (only ? only.includes(name) : !quick || isQuick));
  const keepLogsIn = mkdtempSync(join(tmpdir(), 'ckv-chaos-logs-'));
  const left = [...chosen];
  const outcomes: Outcome[] = [];
  const worker = async () => {
    for (let scenario = left.shift(); scenario; scenario = left.shift()) {
      const { name } = scenario;
      const onProgress = (text: string) => console.log(`${name.padEnd(18)}${text}`);
      const random = createRandom(`${seed} ${name}`);
      const outcome = await runScenario(scenario, { random, quick, onlyFaults, stopAt, keepLogsIn, onProgress });
      outcomes.push(outcome);
      if (keep) writeResults(RESULTS, [outcome], seed, NAMES); // now: a run may be ended
      const counts = COUNTS.map((count) => `${count} ${outcome[count]}`).join(', ');
      onProgress(
        `${outcome.ok ? 'OK' : 'FAILED'} in ${outcome.seconds} s: ${outcome.interactions} interactions, ${counts}`,
      );
      if (!outcome.ok) onProgress(`logs in ${join(keepLogsIn, name)}`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  const total = outcomes.reduce((sum, { interactions }) => sum + interactions, 0);
  console.log(`${total} interactions, seed ${seed}: ${outcomes.every(({ ok }) => ok) ? 'all as promised' : 'FAILED'}`);
  return outcomes;
}
