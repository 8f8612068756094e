import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { createGrpcServer } from '../server/grpc-server.js';
import { createGrpcClient } from './grpc-client.js';

it('ends a connection on which the server is silent, and connects again; a connection with a server stays', async () => {
  const server = createGrpcServer({
    bind: '127.0.0.1:0',
    log: { debug: () => undefined, error: () => undefined },
    metrics: { rpcSeconds: { observe: () => undefined } },
  });
  const never = () => Promise.reject(new Error('unused'));
  server.add('UserCacheService', {
    GetRecords: async () => ({ records: [] }),
    AppendPositions: never,
    ReplaceRecord: never,
    DeleteRecord: never,
    DeletePosition: never,
    Stats: never,
  } as never);
  const [, port] = (await server.start()).address.split(':');
  let connectionCount = 0;
  const door = createServer((socket) => {
    connectionCount++;
    socket.on('error', () => undefined);
    if (connectionCount === 1) return; // silent for ever
    socket.pipe(connect(Number(port), '127.0.0.1')).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(door, 'listening');
  const client = createGrpcClient('UserCacheService', `127.0.0.1:${(door.address() as AddressInfo).port}`);
  const ask = () => client.call('GetRecords', { bundleId: '', userIds: [] }, { deadlineMs: Number.POSITIVE_INFINITY });
  const answered = () =>
    ask().then(
      () => true,
      () => false,
    );
  await expect.poll(answered, { timeout: 25_000 }).toBe(true);
  const madeCount = connectionCount;
  expect(madeCount).toBeGreaterThan(1);
  // The limit of the connection that works passes, and the connection stays.
  const startedMs = performance.now();
  await expect.poll(() => ask().then(() => performance.now() - startedMs > 5_500), { timeout: 20_000 }).toBe(true);
  expect(connectionCount).toBe(madeCount);
  client.close();
  door.close();
  await server.drain(0);
}, 60_000);
