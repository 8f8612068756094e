// `npm run bench:gpu:pack`: packs what the benchmark needs on a machine with an NVIDIA GPU and no network, in two parts.
// `npm run bench:gpu:pack -- --help` explains the options.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { keepArchitecture, megabytes } from './fat-binary.js';
import { readGpuOptions } from './gpu-options.js';
import { makeModel } from './measure-gpu.js';
import { NATIVE_DIR, stage } from './stage.js';
import { pythonOf } from './torch.js';

const USAGE = `npm run bench:gpu:pack -- [options]

Packs Node, onnxruntime, the code, the graphs and a redis-server (part-1.tar.xz), and the
CUDA provider with the code of one GPU architecture (part-2.tar.xz). On the other machine:

  python3 -m tarfile -e part-1.tar.xz gpu && python3 -m tarfile -e part-2.tar.xz gpu
  gpu/run.sh --out DIR

  --sm N            architecture of the GPU: 90 for H100 and H200 (default 90)
  --out DIR         folder of the two parts (default .ckv/gpu-pack)
  --provider DIR    folder with the CUDA provider (default: fetched from PyPI by pip)
  --model DIR       folder that training/bench_gpu.py wrote (default: it is made)
  --python PATH     a Python (default .venv/bin/python, else python3)
  --help            print this text`;

/** Most bytes of a part: what a call to another machine may carry. */
const MAX_PART_BYTES = 60e6;
const CUDA = 'libonnxruntime_providers_cuda.so';
const PROVIDER_FILES = [CUDA, 'libonnxruntime_providers_shared.so'];
const DOWNLOADED = '.ckv/gpu-provider';

try {
  await pack();
} catch (error) {
  console.error(`bench:gpu:pack failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}

async function pack(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      sm: { ...text, default: '90' },
      out: { ...text, default: '.ckv/gpu-pack' },
      help: { type: 'boolean', default: false },
      provider: text,
      model: text,
      python: text,
    },
  });
  if (values.help) return console.log(USAGE);
  const { out } = values;
  const python = pythonOf(values.python);
  const shapes = readGpuOptions([])?.shapes ?? [];
  const quick = readGpuOptions(['--quick'])?.shapes ?? [];
  const model = values.model ?? makeModel({ shapes: [...shapes, ...quick], python });
  const [first, second] = ['part-1', 'part-2'].map((part) => join(out, part)) as [string, string];
  for (const folder of [first, second]) rmSync(folder, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  for (const problem of await stage({ dir: first, model })) console.log(`left out: ${problem}`);
  archive(first);
  stageProvider(second, values.provider ?? downloadProvider(python), Number(values.sm));
  archive(second);
}

/** Writes the CUDA provider with the code of one architecture. */
function stageProvider(dir: string, provider: string, architecture: number): void {
  const native = join(dir, NATIVE_DIR);
  mkdirSync(native, { recursive: true });
  for (const file of PROVIDER_FILES) copyFileSync(join(provider, file), join(native, file));
  const library = readFileSync(join(provider, CUDA));
  const { keptBytes, clearedBytes } = keepArchitecture(library, architecture);
  writeFileSync(join(native, CUDA), library);
  console.log(`${CUDA}: ${megabytes(keptBytes)} of code for sm_${architecture}, ${megabytes(clearedBytes)} cleared`);
}

/** Fetches the CUDA provider of the installed onnxruntime, once. Returns its folder. */
function downloadProvider(python: string): string {
  const provider = join(DOWNLOADED, 'provider');
  if (PROVIDER_FILES.every((file) => existsSync(join(provider, file)))) return provider;
  const wheels = join(DOWNLOADED, 'wheels');
  const [wanted = ''] =
    /^onnxruntime-gpu==.*$/m.exec(readFileSync('deploy/docker/cuda-requirements.txt', 'utf8')) ?? [];
  mkdirSync(wheels, { recursive: true });
  writeFileSync(join(DOWNLOADED, 'requirements.txt'), `${wanted}\n`);
  const where = ['--dest', wheels, '--platform', 'manylinux_2_28_x86_64', '--python-version', '3.12'];
  const only = ['--no-deps', '--require-hashes', '--only-binary', ':all:'];
  const list = ['--requirement', join(DOWNLOADED, 'requirements.txt')];
  execFileSync(python, ['-m', 'pip', 'download', '--quiet', ...only, ...where, ...list], { stdio: 'inherit' });
  execFileSync(python, ['deploy/docker/unpack-cuda.py', wheels, provider, join(DOWNLOADED, 'lib')]);
  rmSync(wheels, { recursive: true });
  return provider;
}

/** Packs a folder beside it, and removes it. Throws if the archive is too large to carry. */
function archive(folder: string): void {
  const file = `${resolve(folder)}.tar.xz`;
  execFileSync('tar', ['--use-compress-program', 'xz -9 -T1', '-cf', file, '-C', folder, '.']);
  rmSync(folder, { recursive: true });
  const { size } = statSync(file);
  console.log(`${file}: ${megabytes(size)}`);
  if (size > MAX_PART_BYTES)
    throw new Error(`${file} has ${megabytes(size)}, at most ${megabytes(MAX_PART_BYTES)} fit`);
}
