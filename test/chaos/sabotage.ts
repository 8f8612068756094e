// `npm run chaos -- --sabotage`: takes one protection after another out of the built product and runs the scenario that
// must notice it. Writes test/chaos/results/sabotage.json.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COUNTS, type Count, type Problem } from './oracle/verdict.js';
import { SABOTAGES, type Sabotage } from './sabotages.js';

/** What the oracle reported without a protection. */
export interface SabotageRow {
  readonly name: string;
  readonly protection: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly scenario: string;
  readonly fault: string;
  readonly reported: Partial<Record<Count, number>>;
  readonly problem: string;
}

const RESULTS = 'test/chaos/results/sabotage.json';
const CHAOS = fileURLToPath(new URL('./chaos.js', import.meta.url));

/**
 * Runs the scenarios of these protections, each without its protection.
 * @returns true if every protection was missed
 */
export async function runSabotages(names: readonly string[] | undefined, seed: string): Promise<boolean> {
  let missed = true;
  for (const sabotage of SABOTAGES.filter(({ name }) => names?.includes(name) ?? true)) {
    const row = await runOne(sabotage, seed);
    console.log(
      `${row ? 'ok' : 'NOT NOTICED'}  ${sabotage.name}: ${JSON.stringify(row?.reported)} ${row?.problem ?? ''}`,
    );
    if (row) keep(row);
    else missed = false;
  }
  return missed;
}

/**
 * Returns the problems that show a missing protection: those of its faults, with one of its counts if it has any. Other
 * problems of the run do not show it.
 */
export function shownBy({ fault, shows }: Pick<Sabotage, 'fault' | 'shows'>, problems: readonly Problem[]): Problem[] {
  const ofFault = problems.filter((problem) => problem.fault.includes(fault));
  if (shows.length === 0) return ofFault;
  return ofFault.filter(({ counts }) => shows.some((count) => (counts[count] ?? 0) > 0));
}

/** Returns a problem in one line, without the folder of its run. */
export function lineOf({ fault, what }: Problem): string {
  return `${fault}: ${what}`.replaceAll(/\S*\/ckv-chaos-\w+/g, 'DIR');
}

async function runOne(sabotage: Sabotage, seed: string): Promise<SabotageRow | undefined> {
  const { file, from, to, scenario, fault, shows } = sabotage;
  const whole = readFileSync(file, 'utf8');
  if (whole.split(from).length !== 2) throw new Error(`${file} does not have this text once: ${from}`);
  const restore = () => writeFileSync(file, whole);
  process.once('exit', restore);
  writeFileSync(
    file,
    whole.replace(from, () => to),
  );
  try {
    const args = [CHAOS, '--seed', seed, '--only', scenario, '--fault', fault, '--stop-at', shows.join(','), '--json'];
    const { problems } = await outcomeOf(args);
    const [first] = shownBy(sabotage, problems);
    if (!first) return undefined;
    const sum = (count: Count) => problems.reduce((total, { counts }) => total + (counts[count] ?? 0), 0);
    const sums = COUNTS.map((count) => [count, sum(count)] as const);
    const reported = Object.fromEntries(sums.filter(([, value]) => value > 0));
    return { ...sabotage, reported, problem: lineOf(first) };
  } finally {
    restore();
    process.off('exit', restore);
  }
}

/** Runs chaos as a process of its own, which loads the changed files. */
async function outcomeOf(args: readonly string[]): Promise<{ readonly problems: readonly Problem[] }> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const end = () => child.kill();
  process.once('exit', end);
  let output = '';
  for await (const chunk of child.stdout) output += chunk;
  process.off('exit', end);
  const json = output.split('\n').find((line) => line.startsWith('[{'));
  if (!json) throw new Error(`the scenario printed no outcome:\n${output.slice(-2_000)}`);
  return JSON.parse(json)[0];
}

/** Writes a row; rows of other protections stay. */
function keep(row: SabotageRow): void {
  const rows = existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, 'utf8')) as SabotageRow[]) : [];
  const others = rows.filter(({ name }) => name !== row.name && SABOTAGES.some((one) => one.name === name));
  const order = SABOTAGES.map(({ name }) => name);
  const all = [...others, row].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  mkdirSync(dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, `${JSON.stringify(all, null, 2)}\n`);
}
