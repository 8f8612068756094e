import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findRedis } from '@collectivekv/private-redis';

/** What a machine with a GPU needs beside {@link NATIVE_DIR}'s provider. */
export interface StageOptions {
  /** A new folder. */
  readonly dir: string;
  /** Folder that training/bench_gpu.py wrote. */
  readonly model: string;
}

/** The folder of onnxruntime's libraries, in a staged folder as in this one. */
export const NATIVE_DIR = 'node_modules/onnxruntime-node/bin/napi-v6/linux/x64';
/** Libraries that every Linux has, and that belong to its kernel and loader. */
const OF_THE_SYSTEM = /^(ld-linux.*|linux-vdso|lib(c|m|dl|rt|pthread))\.so/;

/**
 * Makes the folder that runs the benchmark on another machine, by its run.sh: Node, onnxruntime, the code, the graphs
 * and a redis-server. Returns what was left out, in words.
 */
export async function stage({ dir, model }: StageOptions): Promise<string[]> {
  execFileSync(process.execPath, ['deploy/docker/build-tree.mjs', 'bench', dir]);
  const problems = [stripped(process.execPath, join(dir, 'node'))];
  const runtime = join(NATIVE_DIR, 'libonnxruntime.so.1');
  problems.push(stripped(runtime, join(dir, runtime)));
  cpSync('bundles/demo', join(dir, 'bundles/demo'), { recursive: true });
  cpSync(model, join(dir, 'model'), { recursive: true });
  mkdirSync(join(dir, 'test/bench/gpu'));
  cpSync('test/bench/gpu/torch_arms.py', join(dir, 'test/bench/gpu/torch_arms.py'));
  cpSync('test/bench/gpu/run.sh', join(dir, 'run.sh'));
  problems.push(await copyRedis(dir));
  return [...new Set(problems.filter((problem) => problem !== ''))];
}

/** Copies a program or a library without its symbols. Returns what was left out, in words. */
function stripped(from: string, to: string): string {
  copyFileSync(from, to);
  const { error } = spawnSync('strip', ['--strip-unneeded', to]);
  return error ? `symbols stay in ${basename(to)}: there is no strip; install binutils` : '';
}

/** Copies a redis-server with its libraries to where a private Redis looks for it. */
async function copyRedis(dir: string): Promise<string> {
  try {
    const redis = await findRedis({ dir: '.ckv/redis-server' });
    const root = join(dir, '.ckv/redis-server/root/usr');
    for (const folder of ['bin', 'lib']) mkdirSync(join(root, folder), { recursive: true });
    copyFileSync(redis.path, join(root, 'bin/redis-server'));
    const listed = execFileSync('ldd', [redis.path], { encoding: 'utf8', env: { ...process.env, ...redis.env } });
    for (const [, path = ''] of listed.matchAll(/=> (\S+) \(/g)) {
      if (!OF_THE_SYSTEM.test(basename(path))) copyFileSync(path, join(root, 'lib', basename(path)));
    }
    return '';
  } catch (error) {
    return `redis-server, so RankMany is left out there: ${error instanceof Error ? error.message : error}`;
  }
}
