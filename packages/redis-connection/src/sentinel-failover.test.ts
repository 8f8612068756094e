// Sentinels replace a primary that stands still and keeps its connections.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askRedis, type SentinelDeployment, startSentinelDeployment } from '@collectivekv/private-redis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { closeRedis, connectedRedis } from './connect-redis.js';

let dir: string;
let deployment: SentinelDeployment;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-stale-'));
  deployment = await startSentinelDeployment({ dir: join(dir, 'server'), dataDir: dir });
}, 60_000);
afterAll(async () => {
  await deployment?.stop();
  await rm(dir, { recursive: true, force: true });
});

it('leaves the old primary at the failover, before it returns and takes writes that will be lost', async () => {
  // A client that waits has no limit of silence: it would stay at the old primary.
  const client = await connectedRedis(deployment.url, { field: 'url', name: 'test', whenAway: 'wait' });
  client.on('error', () => undefined);
  const [old, other] = deployment.servers;
  process.kill(old?.pid ?? 0, 'SIGSTOP');
  try {
    await client.set('key', 'value');
  } finally {
    process.kill(old?.pid ?? 0, 'SIGCONT');
    closeRedis(client);
  }
  expect(await askRedis(other?.port ?? 0, 'GET key')).toBe('$5\r\nvalue\r\n');
}, 60_000);
