// A connection may have more than one error. None of them may end the process.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateAuthority,
  createCertificateAuthority,
  type GarblingServer,
  startGarblingServer,
} from '@collectivekv/private-ca';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { closeRedis, connectRedis } from './connect-redis.js';

vi.setConfig({ testTimeout: 120_000 }); // a busy machine

let dir: string;
let authority: CertificateAuthority;
let server: GarblingServer;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-guard-'));
  authority = await createCertificateAuthority();
  writeFileSync(join(dir, 'ca.pem'), authority.cert);
  server = await startGarblingServer(await authority.issue({ hosts: ['127.0.0.1'] }));
});
afterAll(() => {
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

it.each([
  ['one server', 'rediss', ''],
  ['a cluster', 'rediss+cluster', ''],
  ['a sentinel', 'rediss+sentinel', '/main'],
])('connects to %s again after each of two errors of a connection', async (_, scheme, path) => {
  const uncaught: unknown[] = [];
  const note = (error: unknown) => uncaught.push(error);
  process.on('uncaughtException', note);
  const before = server.resetCount;
  const client = connectRedis(`${scheme}://127.0.0.1:${server.port}${path}`, {
    field: 'url',
    name: 'test',
    whenAway: 'fail',
    tls: { caFile: join(dir, 'ca.pem') },
    onError: () => undefined,
  });
  await expect.poll(() => server.resetCount - before, { timeout: 60_000 }).toBeGreaterThan(2);
  closeRedis(client);
  process.off('uncaughtException', note);
  expect(uncaught).toEqual([]);
});
