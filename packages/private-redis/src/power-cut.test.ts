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

it('takes what was written within the time that is lost', async () => {
  const power = supplyPower(() => redis, join(dir, 'redis'));
  await askRedis(redis.port, 'SET other value');
  await vi.waitUntil(() => power.watchedBytes() > 0, { timeout: 60_000 });
  await askRedis(redis.port, 'SET key value');
  expect(await power.cut(60_000)).toBeGreaterThan(0);
  power.close();
  expect(await valueAfterRestart('key')).toBe('$-1\r\n');
});

it.each([0, 1])('keeps what was written before the last %i ms, also if the watch has not seen it', async (lostMs) => {
  const power = supplyPower(() => redis, join(dir, 'redis'));
  await askRedis(redis.port, 'SET other value');
  await vi.waitUntil(() => power.watchedBytes() > 0, { timeout: 60_000 });
  power.close();
  await askRedis(redis.port, 'SET key value');
  expect(await power.cut(lostMs)).toBe(0);
  expect(await valueAfterRestart('key')).toBe('$5\r\nvalue\r\n');
});

it('takes nothing from a server without an append-only file', async () => {
  await redis.stop();
  const without = { dir: join(dir, 'server'), dataDir: join(dir, 'other'), args: ['--appendonly', 'no'] };
  redis = await startPrivateRedis(without);
  const power = supplyPower(() => redis, join(dir, 'other'));
  expect(await power.cut(1_000)).toBe(0);
  power.close();
});
