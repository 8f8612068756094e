import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type BatchShape, drawBatch } from './batch.js';
import { batchParams, type GpuBench } from './gpu-bench.js';
import { CHECKED_SHAPE } from './gpu-options.js';
import { openReference } from './reference.js';

const SCRIPT = fileURLToPath(new URL('../../gpu/torch_arms.py', import.meta.url));
const HAS_TORCH = 'import sys, torch; sys.exit(0 if sys.argv[1] == "cpu" or torch.cuda.is_available() else 1)';

/** What torch_arms.py prints. */
interface TorchAnswer {
  readonly torch: string;
  /** Arms that a batch does not fit, in words. */
  readonly failed: readonly string[];
  readonly rows: readonly (BatchShape & {
    readonly arm: string;
    readonly p50Ms: number;
    readonly longestMs: number;
    readonly difference: number;
  })[];
}

/** Times the arms in PyTorch. Its arms are first compared with the scores of the rank graph. */
export async function measureTorch(bench: GpuBench): Promise<void> {
  const { model, options } = bench;
  const python = pythonOf(options.python);
  const device = options.provider === 'cuda' ? 'cuda' : 'cpu';
  if (options.provider === 'webgpu') return bench.note('PyTorch is left out: it has no WebGPU');
  if (spawnSync(python, ['-c', HAS_TORCH, device]).status !== 0) {
    return bench.note(`PyTorch is left out: ${python} has none for ${device}; name another with --python`);
  }
  const reference = await openReference(model);
  const batch = drawBatch(model, CHECKED_SHAPE);
  const scores = await reference.scores(batch);
  await reference.close();
  const checked = {
    routes: rowsOf(batch.routes, batch.users),
    items: rowsOf(batch.items, batch.users),
    scores: rowsOf(scores, batch.users),
  };
  const input = JSON.stringify({ model: model.dir, device, shapes: options.shapes, repeats: options.repeats, checked });
  const { status, stdout, stderr } = spawnSync(python, [SCRIPT], { input, encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(`torch_arms.py failed:\n${stderr.trim().slice(-2_000)}`);
  const answer = JSON.parse(stdout) as TorchAnswer;
  bench.note(`PyTorch ${answer.torch}`);
  for (const text of answer.failed) bench.note(text);
  for (const { arm, p50Ms, longestMs, difference, ...shape } of answer.rows) {
    const params = batchParams('PyTorch', arm, shape);
    bench.add('batch_p50', params, p50Ms, 'ms');
    bench.add('batch_longest', params, longestMs, 'ms');
    bench.add('difference', params, difference);
  }
}

/** Returns the Python to use: the one given, that of training, or that of the machine. */
export function pythonOf(given: string | undefined): string {
  return given ?? (existsSync('.venv/bin/python') ? '.venv/bin/python' : 'python3');
}

function rowsOf(values: ArrayLike<number>, rows: number): number[][] {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: width }, (_, i) => values[row * width + i] ?? 0),
  );
}
