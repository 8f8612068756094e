// TLS on both sides: whom a client and a server accept, what a refusal says, and files that change.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { type AddressInfo, connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { FileOutcome } from '@collectivekv/credentials';
import { steadyNowMs } from '@collectivekv/domain';
import {
  type CertificateAuthority,
  type CertificatePair,
  createCertificateAuthority,
  startGarblingServer,
} from '@collectivekv/private-ca';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGrpcClient, type GrpcClient } from '../client/grpc-client.js';
import type { GrpcClientOptions } from '../client/grpc-client-options.js';
import { createGrpcServer, type GrpcServer, type GrpcServerOptions } from './grpc-server.js';

vi.setConfig({ testTimeout: 180_000 }); // a busy machine

let authority: CertificateAuthority;
let foreign: CertificateAuthority;
let dir: string;
let opened: { close(): unknown }[];
beforeAll(async () => {
  [authority, foreign] = await Promise.all([createCertificateAuthority('ours'), createCertificateAuthority('theirs')]);
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-rpc-tls-'));
  opened = [];
  write('ca.pem', authority.cert);
});
afterEach(async () => {
  for (const { close } of opened.reverse()) await close();
  rmSync(dir, { recursive: true, force: true });
});

function write(name: string, content: string): string {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
}

/** Writes a pair to NAME.pem and NAME.key. */
function writePair(name: string, { cert, key }: CertificatePair): { certFile: string; keyFile: string } {
  return { certFile: write(`${name}.pem`, cert), keyFile: write(`${name}.key`, key) };
}

/** Starts a server. `deletedCount` tells which server answered. */
async function serve(
  options: Partial<GrpcServerOptions>,
  deletedCount = 1,
): Promise<{ server: GrpcServer; address: string }> {
  const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
  const metrics = { rpcSeconds: { observe: () => undefined } };
  const server = createGrpcServer({ bind: '127.0.0.1:0', log, metrics, ...options });
  const unused = () => Promise.reject(new Error('unused'));
  server.add('UserCacheService', {
    GetRecords: unused,
    AppendPositions: unused,
    ReplaceRecord: unused,
    DeletePosition: unused,
    DropRecords: unused,
    Stats: unused,
    DeleteRecord: async () => ({ deletedCount }),
  });
  opened.push({ close: () => server.drain(0) });
  return { server, address: (await server.start()).address };
}

async function serveTls(options: { hosts?: string[] } & Partial<GrpcServerOptions> = {}) {
  const { hosts = ['127.0.0.1'], ...others } = options;
  const { certFile, keyFile } = writePair('server', await authority.issue({ hosts, usages: ['server'] }));
  return serve({ tlsCertFile: certFile, tlsKeyFile: keyFile, ...others });
}

function client(target: string, options: GrpcClientOptions = {}): GrpcClient<'UserCacheService'> {
  const made = createGrpcClient('UserCacheService', target, { tlsCaFile: join(dir, 'ca.pem'), ...options });
  opened.push(made);
  return made;
}

const call = (caller: GrpcClient<'UserCacheService'>) =>
  caller.call('DeleteRecord', { userId: 'u' }, { deadlineMs: steadyNowMs() + 10_000 });
const unreachable = (text: string) => ({
  reason: 'dependency_unavailable',
  message: expect.stringContaining(`cannot be reached: ${text}`),
});

describe('a server with TLS', () => {
  it('is reached by its address, without a warning of Node', async () => {
    const warnings: string[] = [];
    const listener = ({ message }: Error) => warnings.push(message);
    process.on('warning', listener);
    const { address } = await serveTls();
    await expect(call(client(address))).resolves.toMatchObject({ deletedCount: 1 });
    process.off('warning', listener);
    expect(warnings).toEqual([]);
  });

  it('is reached by an address of another name if the client expects that name', async () => {
    const { address } = await serveTls({ hosts: ['ckv.internal'] });
    await expect(call(client(address, { tlsServerName: 'ckv.internal' }))).resolves.toMatchObject({ deletedCount: 1 });
    await expect(call(client(address))).rejects.toMatchObject(
      unreachable("the server's certificate is for another name; call the server by a name of its certificate"),
    );
  });

  it('may be one of several addresses, each with its own certificate', async () => {
    const first = await serveTls();
    const { certFile, keyFile } = writePair('other', await authority.issue({ hosts: ['127.0.0.2'] }));
    const other = await serve({ bind: '127.0.0.2:0', tlsCertFile: certFile, tlsKeyFile: keyFile }, 2);
    const caller = client(`${first.address},${other.address}`);
    const answered = new Set<number>();
    const ask = async () => answered.add((await call(caller)).deletedCount).size;
    await expect.poll(ask, { timeout: 30_000 }).toBe(2);
  });

  it('is not trusted under another authority', async () => {
    const { address } = await serveTls();
    const tlsCaFile = write('foreign.pem', foreign.cert);
    await expect(call(client(address, { tlsCaFile }))).rejects.toMatchObject(
      unreachable(`the server's certificate is not signed by an authority of ${tlsCaFile}; set tlsCaFile`),
    );
  });

  it('refuses plain text, and a plain server is named as such', async () => {
    const { address } = await serveTls();
    await expect(call(client(address, { tlsCaFile: '' }))).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    const plain = await serve({});
    await expect(call(client(plain.address))).rejects.toMatchObject(
      unreachable('the server does not use TLS at this port'),
    );
  });

  it('says when its certificate expires', async () => {
    const notAfter = new Date('2200-01-01');
    const { certFile, keyFile } = writePair('server', await authority.issue({ notAfter }));
    const { server } = await serve({ tlsCertFile: certFile, tlsKeyFile: keyFile });
    expect(server.certificateEndMs()).toBe(notAfter.getTime());
    expect((await serve({})).server.certificateEndMs()).toBe(0);
  });
});

it('a client says that a certificate has expired', async () => {
  const pair = await authority.issue({ notBefore: new Date('2001-01-01'), notAfter: new Date('2002-01-01') });
  const server: Http2SecureServer = createSecureServer(pair).listen(0, '127.0.0.1');
  opened.push({ close: () => server.close() });
  await expect.poll(() => server.listening).toBe(true);
  const { port } = server.address() as AddressInfo;
  await expect(call(client(`127.0.0.1:${port}`))).rejects.toMatchObject(
    unreachable("the server's certificate has expired; renew it there"),
  );
});

it('a server closes a connection that stops in the handshake', async () => {
  const { address } = await serveTls({ handshakeTimeoutMs: 50 });
  const socket = connectPlain(Number(address.split(':')[1]), '127.0.0.1').on('error', () => undefined);
  socket.resume().write(Buffer.from([0x16, 3, 1])); // the first bytes of a hello
  await once(socket, 'close', { signal: AbortSignal.timeout(60_000) });
});

it('a client tries again after each of two errors of a connection', async () => {
  const uncaught: unknown[] = [];
  const note = (error: unknown) => uncaught.push(error);
  process.on('uncaughtException', note);
  const server = await startGarblingServer(await authority.issue({ hosts: ['127.0.0.1'] }));
  opened.push(server);
  const caller = client(`127.0.0.1:${server.port}`);
  await expect.poll(() => call(caller).catch(() => server.resetCount), { timeout: 60_000 }).toBeGreaterThan(1);
  process.off('uncaughtException', note);
  expect(uncaught).toEqual([]);
});

describe('a server that requires client certificates', () => {
  const serveMutual = () => serveTls({ tlsClientCaFile: join(dir, 'ca.pem') });
  async function identity(by: CertificateAuthority, usages: readonly ('client' | 'server')[] = ['client']) {
    const { certFile, keyFile } = writePair('client', await by.issue({ usages }));
    return { tlsClientCertFile: certFile, tlsClientKeyFile: keyFile };
  }

  it('admits a client with a certificate of its authority', async () => {
    const { address } = await serveMutual();
    await expect(call(client(address, await identity(authority)))).resolves.toMatchObject({ deletedCount: 1 });
  });

  it('refuses a client without a certificate, which names the option', async () => {
    const { address } = await serveMutual();
    await expect(call(client(address))).rejects.toMatchObject(
      unreachable('the server requires a client certificate; set tlsClientCertFile'),
    );
    const named = client(address, { optionNames: { tlsClientCertFile: 'CKV_TLS_CLIENT_CERT_FILE' } });
    await expect(call(named)).rejects.toMatchObject(
      unreachable('the server requires a client certificate; set CKV_TLS_CLIENT_CERT_FILE'),
    );
  });

  it.each([
    ['of another authority', () => identity(foreign)] as const,
    ['for servers only', () => identity(authority, ['server'])] as const,
  ])('refuses a certificate %s', async (_, made) => {
    const { address } = await serveMutual();
    const options = await made();
    await expect(call(client(address, options))).rejects.toMatchObject(
      unreachable(
        'the server closed the connection after the handshake, as it does if it refuses the client certificate',
      ),
    );
  });
});

describe('files that change', () => {
  /** Returns the serial number of the certificate that a new connection gets. */
  const servedSerial = (address: string, tls: { cert?: string; key?: string } = {}) =>
    new Promise<string>((resolve, reject) => {
      const [host = '', port] = address.split(':');
      const socket = connect({ host, port: Number(port), ca: [authority.cert, foreign.cert], ...tls }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.on('error', reject);
    });

  it('a server and its clients move to another authority, and no call fails', async () => {
    const outcomes: FileOutcome[] = [];
    const clientPair = writePair('client', await authority.issue({ usages: ['client'] }));
    write('client-ca.pem', authority.cert);
    const { address } = await serveTls({
      tlsClientCaFile: join(dir, 'client-ca.pem'),
      onFileOutcome: (outcome) => outcomes.push(outcome),
    });
    const tls = { tlsClientCertFile: clientPair.certFile, tlsClientKeyFile: clientPair.keyFile };
    const caller = client(address, { ...tls, onFileOutcome: (outcome) => outcomes.push(outcome) });
    let moved = false;
    let callCount = 0;
    const load = (async () => {
      while (!moved) {
        await call(caller);
        callCount++;
      }
    })();

    // Both authorities are trusted before a certificate of the new one comes.
    write('ca.pem', `${authority.cert}\n${foreign.cert}`);
    write('client-ca.pem', `${authority.cert}\n${foreign.cert}`);
    await expect.poll(() => outcomes, { timeout: 30_000 }).toHaveLength(2);
    const clientTls = await authority.issue({ usages: ['client'] });
    const before = await servedSerial(address, clientTls);
    writePair('server', await foreign.issue({ hosts: ['127.0.0.1'] }));
    writePair('client', await foreign.issue({ usages: ['client'] }));
    await expect.poll(() => servedSerial(address, clientTls), { timeout: 30_000 }).not.toBe(before);
    await expect.poll(() => outcomes, { timeout: 30_000 }).toHaveLength(4);
    // The former authority goes.
    write('ca.pem', foreign.cert);
    write('client-ca.pem', foreign.cert);
    await expect.poll(() => outcomes, { timeout: 30_000 }).toHaveLength(6);
    await expect(call(client(address, tls))).resolves.toMatchObject({ deletedCount: 1 });
    moved = true;
    await load;
    expect(callCount).toBeGreaterThan(0);
    expect(outcomes.filter(({ problem }) => problem)).toEqual([]);
    const former = writePair('former', await authority.issue({ usages: ['client'] }));
    const late = client(address, { tlsClientCertFile: former.certFile, tlsClientKeyFile: former.keyFile });
    await expect(call(late)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  });
});

it.each([
  [{ tlsCertFile: '/nowhere' }, /^tlsCertFile: is set without the file of its private key/],
  [
    { tlsCertFile: '/nowhere/cert', tlsKeyFile: '/nowhere/key' },
    /^tlsCertFile: \/nowhere\/cert cannot be read \(ENOENT\)/,
  ],
  [{ tlsClientCaFile: '/nowhere' }, /^tlsClientCaFile: is set without tlsCertFile; give the server a certificate/],
])('a server refuses %j', async (options, message) => {
  await expect(serve(options)).rejects.toThrow(message);
});

it.each([
  [{ tlsCaFile: '/nowhere' }, /^tlsCaFile: \/nowhere cannot be read \(ENOENT\)/],
  [{ tlsCaFile: '', tlsClientCertFile: '/a' }, /^tlsClientCertFile: is set without tlsCaFile; set both, or neither/],
  [{ tlsCaFile: '', tlsServerName: 'a' }, /^tlsServerName: is set without tlsCaFile/],
])('a client refuses %j', (options, message) => {
  expect(() => client('127.0.0.1:1', options)).toThrow(message);
});
