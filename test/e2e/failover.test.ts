// A Redis behind one address fails over. The old primary lives on as a replica and keeps the open connections.
import { openTcpPipe, type PrivateRedis, startTemporaryRedis, type TcpPipe } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let servers: PrivateRedis[];
let clients: RedisClient[];
let address: TcpPipe;
let e2e: E2eStack;
beforeAll(async () => {
  const args = ['--repl-diskless-sync-delay', '0'];
  servers = await Promise.all([startTemporaryRedis({ args }), startTemporaryRedis({ args })]);
  const options = { field: 'url', name: 'test', whenAway: 'fail' } as const;
  clients = await Promise.all(servers.map(({ url }) => connectedRedis(url, options)));
  address = await openTcpPipe(portOf(servers[0]));
  e2e = await startE2e({ redisUrl: `redis://127.0.0.1:${address.port}` });
});
afterAll(async () => {
  await e2e?.close();
  address?.close();
  for (const client of clients ?? []) closeRedis(client);
  await Promise.all((servers ?? []).map((server) => server.stop()));
});

const portOf = (server: PrivateRedis | undefined) => Number(new URL(server?.url ?? '').port);

/** Makes `replica` a replica with all the data of `primary`. */
async function replicate(primary: PrivateRedis | undefined, replica: RedisClient | undefined): Promise<void> {
  await replica?.replicaof('127.0.0.1', portOf(primary));
  await vi.waitUntil(async () => (await replica?.info('replication'))?.includes('master_link_status:up'), {
    timeout: 60_000,
  });
}

/** Waits until the updater and the user-cache report that they are ready, or not. */
async function untilReady(ready: boolean): Promise<void> {
  for (const name of ['updater', 'user-cache'] as const) {
    const [service] = e2e.stack.services[name];
    const probe = async () => (await fetch(`http://${service?.metricsAddress}/readyz`)).ok === ready;
    await vi.waitUntil(probe, { timeout: 60_000 });
  }
}

it('reports not ready while writes are refused, and writes to the new primary without a restart', async () => {
  await e2e.client.recordInteractions(interactionsOf('u', 5));
  await e2e.untilApplied('u', 5);
  const [old, other] = clients;
  await replicate(servers[0], other);
  await other?.replicaof('NO', 'ONE');
  await replicate(servers[1], old);
  await untilReady(false);
  await expect(e2e.client.recordInteractions(interactionsOf('u', 1, 5), { timeoutMs: 100 })).rejects.toMatchObject({
    reason: 'dependency_unavailable',
  });

  address.moveTo(portOf(servers[1]));
  await untilReady(true);
  await e2e.client.recordInteractions(interactionsOf('u', 5, 5));
  const record = await e2e.untilApplied('u', 10);
  await e2e.expectRows(record, interactionsOf('u', 10));
}, 120_000);
