import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { askRedis, type PrivateRedis, startPrivateRedis, supplyPower } from './index.js';

let dir: string;
let redis: PrivateRedis;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-power-'));
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Restarts the server, and returns what it still has of a key. */
async function valueAfterRestart(key: string): Promise<string> {
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
  const value = await askRedis(redis.port, `GET ${key}`);
  await redis.stop();
  return value;
}

it.each([
  ['keeps what was written before the time that is lost', 0, '$5\r\nvalue\r\n'],
  ['takes what was written within the time that is lost', Number.POSITIVE_INFINITY, '$-1\r\n'],
])('%s', async (_, lostMs, left) => {
  const power = supplyPower(() => redis, join(dir, 'redis'));
  await askRedis(redis.port, 'SET key value');
  // The watch must have seen the write: SELECT and SET take 23 and 33 bytes.
  await vi.waitUntil(() => power.watchedBytes() >= 56, { timeout: 10_000 });
  const takenBytes = await power.cut(lostMs);
  power.close();
  expect(takenBytes > 0).toBe(lostMs > 0);
  expect(await valueAfterRestart('key')).toBe(left);
});

it('takes nothing from a server without an append-only file', async () => {
  await redis.stop();
  const without = { dir: join(dir, 'server'), dataDir: join(dir, 'other'), args: ['--appendonly', 'no'] };
  redis = await startPrivateRedis(without);
  const power = supplyPower(() => redis, join(dir, 'other'));
  expect(await power.cut(1_000)).toBe(0);
  power.close();
});
