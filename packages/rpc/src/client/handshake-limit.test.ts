import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { type Followed, followTlsFiles, type TlsMaterial } from '@collectivekv/credentials';
import { createCertificateAuthority } from '@collectivekv/private-ca';
import { Client, credentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { createGrpcServer, type GrpcServer } from '../server/grpc-server.js';
import { limitHandshakes } from './handshake-limit.js';
import { createTlsCredentials } from './tls-credentials.js';

vi.setConfig({ testTimeout: 60_000 }); // a busy machine

let dir: string;
let own: { readonly cert: string; readonly key: string };
let tls: Followed<TlsMaterial>;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-handshake-'));
  const authority = await createCertificateAuthority();
  own = await authority.issue({ hosts: ['127.0.0.1'] });
  for (const [name, pem] of Object.entries({ ...own, ca: authority.cert })) writeFileSync(join(dir, name), pem);
  tls = followTlsFiles({ authorities: { field: 'ca', path: join(dir, 'ca') } });
});
afterAll(() => {
  tls.close();
  rmSync(dir, { recursive: true });
});

let server: GrpcServer;
let entrance: Server;
let client: Client;
const sockets: Socket[] = [];
afterEach(async () => {
  client.close();
  entrance.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  await server.drain(0);
});

const PREFACE_CUT_SHORT = Buffer.from([0, 0, 6, 4]); // of the head of a SETTINGS frame
const HELLO_CUT_SHORT = Buffer.from([0x16, 3, 3, 0, 122, 2, 0]);

it.each<[string, 'plain' | 'tls', (socket: Socket) => void]>([
  ['is silent', 'plain', (socket) => socket.resume()],
  ['begins HTTP/2 and stops', 'plain', (socket) => socket.resume().write(PREFACE_CUT_SHORT)],
  ['is silent with TLS', 'tls', (socket) => socket.resume()],
  ['begins the TLS handshake and stops', 'tls', (socket) => socket.resume().write(HELLO_CUT_SHORT)],
  ['is silent after the TLS handshake', 'tls', (socket) => new TLSSocket(socket, { isServer: true, ...own }).resume()],
])('gives up a server that %s, and connects again; a working connection stays', async (_, kind, stall) => {
  const files = kind === 'tls' ? { tlsCertFile: join(dir, 'cert'), tlsKeyFile: join(dir, 'key') } : {};
  const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
  server = createGrpcServer({
    bind: '127.0.0.1:0',
    log,
    metrics: { rpcSeconds: { observe: () => undefined } },
    ...files,
  });
  const [, port] = (await server.start()).address.split(':');
  entrance = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    if (sockets.length === 1) stall(socket);
    else socket.pipe(connect(Number(port), '127.0.0.1').on('error', () => undefined)).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(entrance, 'listening');

  const limits: (() => void)[] = [];
  const secure =
    kind === 'tls'
      ? createTlsCredentials({ tls, hosts: ['127.0.0.1'], serverName: '', onOutcome: () => undefined })
      : credentials.createInsecure();
  const limited = limitHandshakes(secure, (onEnd) => {
    limits.push(onEnd);
    return () => undefined;
  });
  client = new Client(`127.0.0.1:${(entrance.address() as AddressInfo).port}`, limited, {
    'grpc.initial_reconnect_backoff_ms': 100,
  });
  const ready = new Promise<void>((resolve, reject) => {
    client.waitForReady(Date.now() + 50_000, (error) => (error ? reject(error) : resolve()));
  });
  await vi.waitUntil(() => sockets.length === 1 && limits.length === 1, { timeout: 50_000 });
  limits[0]?.();
  await ready;
  expect(await healthOf(client)).toEqual(NOT_SERVING);
  const madeCount = sockets.length;
  for (const end of limits) end();
  expect(await healthOf(client)).toEqual(NOT_SERVING);
  expect(sockets.length).toBe(madeCount);
});

const NOT_SERVING = Buffer.from([0x08, 2]);

/** Returns the answer to a health check. */
function healthOf(caller: Client): Promise<Buffer | undefined> {
  const asIs = (bytes: Buffer) => bytes;
  return new Promise((resolve, reject) => {
    caller.makeUnaryRequest('/grpc.health.v1.Health/Check', asIs, asIs, Buffer.alloc(0), (error, bytes) =>
      error ? reject(error) : resolve(bytes),
    );
  });
}
