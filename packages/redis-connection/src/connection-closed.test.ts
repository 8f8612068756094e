import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPrivateCluster, startTemporaryRedis } from '@collectivekv/private-redis';
import { expect, it, vi } from 'vitest';
import { closeRedis, connectedRedis, onConnectionClosed } from './connect-redis.js';

const OPTIONS = { field: 'url', name: 'test', whenAway: 'fail' } as const;

it('reports the end of a server', async () => {
  const redis = await startTemporaryRedis();
  const client = await connectedRedis(redis.url, OPTIONS);
  client.on('error', () => undefined);
  const listener = vi.fn();
  onConnectionClosed(client, listener);
  expect(listener).not.toHaveBeenCalled();
  await redis.stop();
  await vi.waitUntil(() => listener.mock.calls.length > 0, { timeout: 20_000 });
  closeRedis(client);
});

it('reports the end of one node of a cluster while the others live', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-closed-'));
  const cluster = await startPrivateCluster({ dir: join(dir, 'server'), dataDir: dir, nodeCount: 3 });
  const client = await connectedRedis(cluster.url, OPTIONS, 20_000);
  client.on('error', () => undefined);
  const listener = vi.fn();
  onConnectionClosed(client, listener);
  for (let i = 0; i < 50; i++) await client.get(`key-${i}`); // connects to every node
  expect(listener).not.toHaveBeenCalled();
  await cluster.nodes[2]?.kill();
  await vi.waitUntil(() => listener.mock.calls.length > 0, { timeout: 20_000 });
  closeRedis(client);
  await cluster.stop();
  await rm(dir, { recursive: true, force: true });
}, 60_000);
