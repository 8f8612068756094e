// `npm run bench:gpu`: measures batches of users on a GPU. `npm run bench:gpu -- --help` explains the options.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GPU_USAGE, readGpuOptions } from './gpu-options.js';
import { addRuns, type GpuResults } from './gpu-results.js';
import { measureGpu } from './measure-gpu.js';

const RESULTS = 'test/bench/results/gpu.json';

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
try {
  const options = readGpuOptions(process.argv.slice(2));
  if (options?.add !== undefined) {
    const resultsIn = (path: string): GpuResults => JSON.parse(readFileSync(path, 'utf8'));
    const results = addRuns(resultsIn(RESULTS), resultsIn(options.add));
    writeFileSync(RESULTS, `${JSON.stringify(results, null, 1)}\n`);
    console.log(`added to ${RESULTS}; "npm run docs" writes the page`);
  } else if (options) {
    const dir = mkdtempSync(join(tmpdir(), 'ckv-gpu-'));
    process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
    const progress = (text: string) => console.error(`[${Math.round(performance.now() / 1_000)} s] ${text}`);
    console.log(await measureGpu(options, { dir, progress }));
  } else console.log(GPU_USAGE);
} catch (error) {
  console.error(`bench:gpu failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
