// An updater whose Redis may evict interactions must not start.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServiceProcess } from '@collectivekv/dev-stack';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { afterAll, beforeAll, expect, it } from 'vitest';

let dir: string;
let redis: PrivateRedis;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-eviction-'));
  const args = ['--maxmemory', '20mb', '--maxmemory-policy', 'allkeys-lru'];
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis'), args });
});
afterAll(async () => {
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
});

it('exits, and its last line names the variable, the policy and the remedy', async () => {
  const env = { CKV_BIND: '127.0.0.1:0', CKV_CACHE_DIR: join(dir, 'cache'), CKV_QUEUE_REDIS_URL: redis.url };
  const started = startServiceProcess({ name: 'updater', logFile: join(dir, 'updater.log'), env });
  await expect(started).rejects.toThrow(
    /updater cannot start: CKV_QUEUE_REDIS_URL: .*maxmemory-policy is allkeys-lru; set maxmemory-policy noeviction/,
  );
});
