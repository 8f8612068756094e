import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { startServiceProcess } from './service-process.js';

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
