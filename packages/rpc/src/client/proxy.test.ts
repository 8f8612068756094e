import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGrpcServer } from '../server/grpc-server.js';
import { createGrpcClient } from './grpc-client.js';
import { mayUseProxy } from './proxy.js';

it.each([
  ['127.0.0.1:1', false],
  ['127.9.9.9:1', false],
  ['localhost:1', false],
  ['LocalHost', false],
  ['pool.localhost:1', false],
  ['[::1]:1', false],
  ['::1', false],
  ['ipv4:127.0.0.1:1', false],
  ['ipv4:10.0.0.1:1,127.0.0.1:2', false],
  ['ipv6:[::1]:1', false],
  ['dns:localhost:1', false],
  ['dns:///localhost:1', false],
  ['dns://10.0.0.1/localhost:1', false],
  ['unix:/run/pool.sock', false],
  ['10.0.0.1:1', true],
  ['128.0.0.1:1', true],
  ['127.example:1', true],
  ['localhost.example:1', true],
  ['dns:///pool:50051', true],
  ['[2001:db8::1]:1', true],
])('%s may use a proxy: %s', (target, expected) => {
  expect(mayUseProxy(target)).toBe(expected);
});

describe.each(['grpc_proxy', 'http_proxy', 'https_proxy'])('with %s in the environment', (variable) => {
  let proxy: Server;
  /** What clients asked the proxy for. */
  let asked: string[];
  beforeEach(async () => {
    asked = [];
    proxy = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (bytes) => asked.push(String(bytes).split('\r\n')[0] ?? ''));
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    vi.stubEnv(variable, `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    proxy.close();
  });

  it.each([false, true])('calls loopback without the proxy (useProxy %s)', async (useProxy) => {
    const server = createGrpcServer({
      bind: '127.0.0.1:0',
      log: { debug: () => undefined, warn: () => undefined, error: () => undefined },
      metrics: { rpcSeconds: { observe: () => undefined } },
    });
    const unused = () => Promise.reject(new Error('unused'));
    server.add('InteractionService', {
      Record: async () => ({ queuedCount: 7 }),
      Forget: unused,
      DeleteUser: unused,
      GetReceipt: unused,
    });
    const { address } = await server.start();
    const client = createGrpcClient('InteractionService', address, { useProxy });
    expect(await client.call('Record', {})).toMatchObject({ queuedCount: 7 });
    client.close();
    await server.drain(0);
    expect(asked).toEqual([]);
  });

  it('calls other targets through the proxy if told so', async () => {
    const client = createGrpcClient('PoolService', 'dns:///pool.invalid:50051', { useProxy: true });
    const call = client.call('Describe', {}).catch(() => undefined);
    await vi.waitUntil(() => asked.length > 0);
    expect(asked[0]).toBe('CONNECT pool.invalid:50051 HTTP/1.1');
    client.close();
    await call;
  });

  it('calls other targets directly by default', async () => {
    const client = createGrpcClient('PoolService', 'dns:///pool.invalid:50051');
    await expect(client.call('Describe', {})).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    client.close();
    expect(asked).toEqual([]);
  });
});
