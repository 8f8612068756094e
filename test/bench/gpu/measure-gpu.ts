import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { runtimeVersion } from '@collectivekv/engine';
import { makeOnce } from '../bench-bundles.js';
import type { Row } from '../results.js';
import { busyText } from '../usage.js';
import { openDevice } from './device.js';
import type { GpuBench } from './gpu-bench.js';
import { readGpuModel } from './gpu-model.js';
import { CHECKED_SHAPE, type GpuOptions, type GpuPart } from './gpu-options.js';
import type { GpuRun } from './gpu-results.js';
import { gpuTables } from './gpu-tables.js';
import { measureArms } from './measure-arms.js';
import { measureDemo } from './measure-demo.js';
import { measureHstu } from './measure-hstu.js';
import { measureRankMany } from './measure-rank-many.js';
import { measureTorch } from './torch.js';

const MEASURE: Record<GpuPart, (bench: GpuBench) => Promise<void>> = {
  demo: measureDemo,
  arms: measureArms,
  hstu: measureHstu,
  torch: measureTorch,
  'rank-many': measureRankMany,
};

/** Where a run writes. */
export interface GpuOutput {
  /** Folder of all files but the results. */
  readonly dir: string;
  /** Prints the current activity. */
  progress(text: string): void;
}

/**
 * Measures the parts of a run, writes the results and returns the tables.
 * @throws Error if an arm's scores differ from those of the CPU; provider_missing
 */
export async function measureGpu(options: GpuOptions, { dir, progress }: GpuOutput): Promise<string> {
  const model = readGpuModel(options.model ?? makeModel(options));
  const device = await openDevice({ ...options, threads: availableParallelism() });
  const [rows, notes]: [Row[], string[]] = [[], []];
  const busy = busyText(loadavg()[1] ?? 0, availableParallelism());
  if (busy !== '') notes.push(busy);
  const add: GpuBench['add'] = (name, params, value, unit = '') => rows.push({ name, params, value, unit, target: '' });
  const note = (text: string) => {
    notes.push(text);
    progress(text);
  };
  const { provider, precision, out } = options;
  const card = provider === 'cpu' ? `${cpus().length} cores (${cpus()[0]?.model})` : cardName();
  const origin = `test/bench/gpu, onnxruntime-node ${runtimeVersion()}, provider ${provider}, precision ${precision}`;
  const tables = () => gpuTables([runSoFar()]);
  const runSoFar = (): GpuRun => {
    return { card, origin, finished: new Date().toISOString(), notes: [...new Set(notes)], rows };
  };
  const save = () => {
    if (out === undefined) return;
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, 'gpu.json'), `${JSON.stringify({ runs: [runSoFar()] }, null, 1)}\n`);
    writeFileSync(join(out, 'gpu.md'), `${tables()}\n`);
  };
  try {
    for (const part of options.parts) {
      progress(part);
      await MEASURE[part]({ options, model, device, dir, rows, notes, add, note, progress, save });
      save();
    }
  } finally {
    await device.close();
  }
  return tables();
}

/** Makes the graphs by training/bench_gpu.py, unless they were made before. Returns their folder. */
export function makeModel({ shapes, python }: Pick<GpuOptions, 'shapes' | 'python'>): string {
  const resident = new Set([CHECKED_SHAPE, ...shapes].map(({ users, positions }) => `${users}x${positions}`));
  const args = [...resident].flatMap((shape) => ['--resident', shape]);
  return makeOnce('training/bench_gpu.py', args, python);
}

/** Returns the name of the machine's GPU, with its driver. */
function cardName(): string {
  const query = ['--query-gpu=name,driver_version', '--format=csv,noheader'];
  const { stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8' });
  return stdout ? `${stdout.trim().split('\n')[0]?.replace(', ', ', driver ')}` : 'an unknown GPU';
}
