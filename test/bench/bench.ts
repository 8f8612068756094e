// `npm run bench`: measures the figures of docs/benchmarks.md. `npm run bench -- --help` explains the options.
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { type Bench, startBench } from './bench-context.js';
import { bytes } from './figures/bytes.js';
import { collapse } from './figures/collapse.js';
import { length } from './figures/length.js';
import { load } from './figures/load.js';
import { memory } from './figures/memory.js';
import { overload } from './figures/overload.js';
import { profile } from './figures/profile.js';
import { quality } from './figures/quality.js';
import { candidates, pool } from './figures/sweeps.js';
import { switches } from './figures/switches.js';
import { throughput } from './figures/throughput.js';
import { updates } from './figures/updates.js';
import { checkScores } from './integrity.js';
import { BASELINES, type BenchOptions, PARTS, type Part, readOptions, USAGE } from './options.js';
import { openReport, type ReportPaths } from './report.js';
import { isAlone, reaches } from './results.js';

const MEASURE: Record<Part, (bench: Bench) => Promise<void>> = {
  quality,
  bytes,
  length,
  candidates,
  pool,
  throughput,
  load,
  profile,
  collapse,
  updates,
  memory,
  overload,
  switches,
};
const PAGE = 'docs/benchmarks.md';

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
try {
  const options = readOptions(process.argv.slice(2));
  if (options) await run(options);
  else console.log(USAGE);
} catch (error) {
  console.error(`bench failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}

async function run(options: BenchOptions): Promise<void> {
  const paths = options.out === undefined ? undefined : pathsIn(options.out);
  const report = paths && openReport(paths);
  if (options.renderOnly) {
    report?.render();
    return console.log(`written from ${paths?.results}: ${paths?.page}, ${paths?.plots}`);
  }
  const begunMs = performance.now();
  const [, loadBefore] = loadavg();
  const bench = await startBench(options);
  try {
    await measure(bench);
  } catch (error) {
    await bench.close({ keepDir: true });
    throw new Error(`${error instanceof Error ? error.message : error}; logs: ${bench.dir}`, { cause: error });
  }
  const bundles = await bench.usedBundles();
  await bench.close();
  const missed = bench.rows.filter((row) => reaches(row) === false).map(({ name }) => name);
  bench.progress(missed.length === 0 ? 'all targets met' : `targets missed: ${[...new Set(missed)].join(', ')}`);
  if (!paths || !report) return console.log('part of a run: nothing was written; --out DIR writes the figures');
  const [cpu] = cpus();
  const machine = { node: process.version, cores: cpus().length, cpu: cpu?.model ?? 'unknown', loadBefore };
  const minutes = (performance.now() - begunMs) / 60_000;
  const finished = new Date().toISOString();
  const leftOut = isAlone(options.mode) ? [] : leftOutOf(options);
  const about = { mode: options.mode, finished, minutes, rounds: options.rounds, leftOut, ...machine };
  report.write({ ...about, bundles }, bench.rows);
  console.log(`written: ${Object.values(paths).join(', ')}`);
}

async function measure(bench: Bench): Promise<void> {
  const { mode, parts } = bench.options;
  if (!isAlone(mode)) await checkScores(bench);
  for (const [i, part] of parts.entries()) {
    bench.progress(`part ${i + 1} of ${parts.length}: ${part}`);
    await MEASURE[part](bench);
  }
}

function leftOutOf({ parts, baselines }: BenchOptions): string[] {
  const names: readonly string[] = [...PARTS, ...BASELINES];
  const run: readonly string[] = [...parts, ...baselines];
  return names.filter((name) => !run.includes(name));
}

function pathsIn(out: string): ReportPaths {
  if (out === '.') return { results: 'test/bench/results/latest.json', page: PAGE, plots: 'docs/benchmarks' };
  const page = join(out, 'benchmarks.md');
  mkdirSync(out, { recursive: true });
  if (!existsSync(page)) copyFileSync(PAGE, page);
  return { results: join(out, 'latest.json'), page, plots: join(out, 'benchmarks') };
}
