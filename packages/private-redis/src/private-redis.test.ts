import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findRedis, startPrivateRedis } from './index.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-redis-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

it('starts, shuts down in order, and starts again on the same data folder', async () => {
  const options = { dir: join(dir, 'server'), dataDir: join(dir, 'redis') };
  const first = await startPrivateRedis(options);
  expect(first.url).toMatch(/^redis:\/\/127\.0\.0\.1:\d+$/);
  await first.stop();
  const second = await startPrivateRedis(options);
  await second.kill();
  expect(() => process.kill(second.pid, 0)).toThrow('ESRCH');
});

it('says in one line what to install if there is no server and no package manager', async () => {
  const path = process.env.PATH;
  process.env.PATH = dir;
  try {
    await expect(findRedis({ dir: join(dir, 'server') })).rejects.toThrow(/^there is no redis-server.*install Redis/);
  } finally {
    process.env.PATH = path;
  }
});
