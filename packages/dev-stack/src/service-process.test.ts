import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '@collectivekv/private-redis';
import { expect, it, vi } from 'vitest';
import { startServiceProcess } from './service-process.js';

vi.mock(import('@collectivekv/private-redis'), async (original) => {
  const { freePort, ...others } = await original();
  return { ...others, freePort: vi.fn(freePort) };
});
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

it.runIf(existsSync('/proc/self/environ'))('gives a service the limits of malloc that the images give it', async () => {
  const limits = readFileSync(join(ROOT, 'deploy/docker/Dockerfile'), 'utf8').match(/MALLOC_\w+=\d+/g) ?? [];
  expect(limits).toHaveLength(2);
  const dir = mkdtempSync(join(tmpdir(), 'ckv-service-'));
  const env = { CKV_BUNDLES_DIR: join(ROOT, 'bundles/demo'), CKV_STATE_DIR: dir, CKV_BIND: '127.0.0.1:0' };
  const pool = await startServiceProcess({
    name: 'pool',
    env: { ...env, CKV_METRICS_BIND: '127.0.0.1:0' },
    logFile: join(dir, 'pool.log'),
  });
  try {
    const variables = readFileSync(`/proc/${pool.pid}/environ`, 'utf8').split('\0');
    expect(variables).toEqual(expect.arrayContaining(limits));
  } finally {
    await pool.stop();
    rmSync(dir, { recursive: true });
  }
});

it('starts on another port if another process has taken the chosen one, and restarts on its own', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const dir = mkdtempSync(join(tmpdir(), 'ckv-service-'));
  const own = await freePort();
  vi.mocked(freePort)
    .mockResolvedValueOnce((other.address() as AddressInfo).port)
    .mockResolvedValueOnce(own);
  const env = { CKV_BIND: '127.0.0.1:0', CKV_REDIS_URL: 'redis://127.0.0.1:1' };
  const service = await startServiceProcess({ name: 'user-cache', env, logFile: join(dir, 'user-cache.log') });
  try {
    expect(service.address).toBe(`127.0.0.1:${own}`);
    await service.kill();
    await service.restart();
    expect(service.address).toBe(`127.0.0.1:${own}`);
  } finally {
    await service.stop();
    other.close();
    rmSync(dir, { recursive: true });
  }
});
