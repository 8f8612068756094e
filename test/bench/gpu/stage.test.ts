import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findRedis } from '@collectivekv/private-redis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { GpuResults } from './gpu-results.js';
import { stage } from './stage.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-stage-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** The CUDA provider is for Linux on x86-64 alone. */
it.runIf(process.platform === 'linux' && process.arch === 'x64')(
  'a staged folder runs the benchmark with its own Node, and has a Redis',
  async () => {
    const staged = join(dir, 'staged');
    const leftOut = await stage({ dir: staged, model: 'test/fixtures/gpu' });
    expect(leftOut.filter((text) => !text.startsWith('symbols stay'))).toEqual([]); // without binutils
    const args = ['--provider', 'cpu', '--quick', '--only', 'demo,arms', '--out', join(dir, 'out')];
    execFileSync(join(staged, 'run.sh'), args, { cwd: dir, env: { PATH: '/usr/bin:/bin' }, stdio: 'pipe' });
    const { runs }: GpuResults = JSON.parse(readFileSync(join(dir, 'out/gpu.json'), 'utf8'));
    expect(runs[0]?.rows.map(({ params }) => params.arm)).toEqual(expect.arrayContaining(['demo', 'collapsed']));
    expect(existsSync(join(staged, 'node_modules/vitest'))).toBe(false);

    expect(existsSync(join(staged, '.ckv/redis-server/root/usr/bin/redis-server'))).toBe(true); // or it is fetched
    const redis = await findRedis({ dir: join(staged, '.ckv/redis-server'), searchPath: '' });
    expect(redis.path.startsWith(staged)).toBe(true);
    expect(execFileSync(redis.path, ['--version'], { env: redis.env, encoding: 'utf8' })).toContain('Redis server');
  },
);
