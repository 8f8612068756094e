// Deployments in which another server takes over when a primary dies.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { askRedis, startPrivateCluster, startSentinelDeployment } from './index.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-failover-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** A busy machine delays elections, which are tried again after 8 or 10 s. */
const LONG = { timeout: 180_000 };
vi.setConfig({ testTimeout: LONG.timeout, hookTimeout: LONG.timeout });
const roleOf = async (port: number) => (await askRedis(port, 'ROLE')).split('\r\n')[2];

it('sentinels replace a killed primary, which returns as a replica', async () => {
  const deployment = await startSentinelDeployment({ dir: join(dir, 'server'), dataDir: dir });
  const [first, second] = deployment.servers;
  expect(await deployment.primaryPort()).toBe(first?.port);
  await askRedis(first?.port ?? 0, 'SET a 1');
  await first?.kill();
  await expect.poll(() => deployment.primaryPort(), LONG).toBe(second?.port);
  await expect.poll(() => roleOf(second?.port ?? 0), LONG).toBe('master');
  await deployment.restartServer(0);
  await deployment.untilReplicated();
  expect(await roleOf(first?.port ?? 0)).toBe('slave');
  expect(await askRedis(first?.port ?? 0, 'GET a')).toBe('$1\r\n1\r\n');
  await deployment.stop();
});

it('every node of a new cluster knows the primaries and epochs, without which no replica is elected', async () => {
  const options = { dir: join(dir, 'server'), dataDir: dir, nodeCount: 3, replicas: true };
  const cluster = await startPrivateCluster(options);
  const ports = cluster.nodes.map(({ port }) => port);
  for (const reply of await Promise.all(ports.map((port) => askRedis(port, 'CLUSTER NODES')))) {
    const lines = [...reply.matchAll(/^(\S+) \S+:(\d+)@\S+ \S+ (\S+) \S+ \S+ (\d+)/gm)];
    const ids = ports.map((port) => lines.find(([, , one]) => one === String(port))?.[1]);
    const known = ids.map((id) => lines.find(([, one]) => one === id)?.slice(3));
    const [first, second, third] = ids;
    expect(known).toEqual(['-', '-', '-', first, second, third].map((primary, i) => [primary, String((i % 3) + 1)]));
  }
  await cluster.stop();
});

it('a replica takes over the slots of a killed primary of a cluster, which returns as a replica', async () => {
  const options = { dir: join(dir, 'server'), dataDir: dir, nodeCount: 3, replicas: true };
  const cluster = await startPrivateCluster(options);
  expect(cluster.nodes).toHaveLength(6);
  await cluster.nodes[0]?.kill();
  await expect.poll(() => roleOf(cluster.nodes[3]?.port ?? 0), LONG).toBe('master');
  await cluster.restartNode(0);
  await cluster.untilReplicated();
  expect(await roleOf(cluster.nodes[0]?.port ?? 0)).toBe('slave');
  await cluster.stop();
});
