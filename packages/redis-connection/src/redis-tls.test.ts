// TLS to real Redis servers: one server, a cluster, and a primary behind a sentinel.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileOutcome } from '@collectivekv/credentials';
import { type CertificateAuthority, createCertificateAuthority } from '@collectivekv/private-ca';
import {
  askRedis,
  findRedis,
  freeNodePort,
  freePort,
  launchServer,
  type PrivateRedis,
  type ServerProcess,
  startPrivateRedis,
  supportsTls,
} from '@collectivekv/private-redis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { closeRedis, connectedRedis, type RedisClient } from './connect-redis.js';
import type { RedisTlsOptions } from './redis-tls.js';

vi.setConfig({ testTimeout: 180_000 }); // a busy machine

const shared = mkdtempSync(join(tmpdir(), 'ckv-tls-server-'));
const available = supportsTls(await findRedis({ dir: shared }));
let authority: CertificateAuthority;
let dir: string;
let servers: { stop(): Promise<void> }[];
let clients: RedisClient[];
beforeAll(async () => {
  authority = await createCertificateAuthority();
});
afterAll(() => rmSync(shared, { recursive: true, force: true }));
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-redis-tls-'));
  servers = [];
  clients = [];
  write('ca.pem', authority.cert);
  await writePair('server');
  await writePair('client', { usages: ['client'] });
});
afterEach(async () => {
  for (const client of clients) closeRedis(client);
  for (const server of servers.reverse()) await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

function write(name: string, content: string): string {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
}

async function writePair(name: string, options?: Parameters<CertificateAuthority['issue']>[0], by = authority) {
  const { cert, key } = await by.issue(options);
  write(`${name}.pem`, cert);
  write(`${name}.key`, key);
}

const tlsArgs = (tlsPort: number) => [
  ...['--tls-port', String(tlsPort), '--tls-cert-file', join(dir, 'server.pem')],
  ...['--tls-key-file', join(dir, 'server.key'), '--tls-ca-cert-file', join(dir, 'ca.pem')],
];

/** Starts a Redis that asks for client certificates, as it does by default. */
async function startTls(...args: string[]): Promise<{ redis: PrivateRedis; tlsPort: number }> {
  const tlsPort = await freeNodePort();
  const dataDir = join(dir, `redis-${tlsPort}`);
  const redis = await startPrivateRedis({ dir: shared, dataDir, args: [...tlsArgs(tlsPort), ...args] });
  servers.push(redis);
  return { redis, tlsPort };
}

const ours = (options: RedisTlsOptions = {}): RedisTlsOptions => ({
  caFile: join(dir, 'ca.pem'),
  certFile: join(dir, 'client.pem'),
  keyFile: join(dir, 'client.key'),
  optionNames: { caFile: 'CKV_REDIS_TLS_CA_FILE', certFile: 'CKV_REDIS_TLS_CERT_FILE' },
  ...options,
});

async function connect(url: string, tls: RedisTlsOptions, timeoutMs = 20_000): Promise<RedisClient> {
  const client = await connectedRedis(url, { field: 'CKV_REDIS_URL', name: 'test', whenAway: 'fail', tls }, timeoutMs);
  clients.push(client);
  return client;
}

const refusal = (text: string) => ({
  reason: 'dependency_unavailable',
  message: expect.stringContaining(`CKV_REDIS_URL: Redis cannot be reached (${text}`),
});

describe.skipIf(!available)('with a Redis that uses TLS', () => {
  it('works with one server', async () => {
    const { tlsPort } = await startTls();
    const client = await connect(`rediss://127.0.0.1:${tlsPort}`, ours());
    expect(await client.set('key', 'value')).toBe('OK');
    const named = await connect(`rediss://localhost:${tlsPort}`, ours());
    expect(await named.get('key')).toBe('value');
  });

  it('works with a cluster', async () => {
    const { tlsPort, redis } = await startTls(
      ...['--cluster-enabled', 'yes', '--tls-cluster', 'yes', '--cluster-announce-ip', '127.0.0.1'],
    );
    await askRedis(redis.port, 'CLUSTER ADDSLOTSRANGE 0 16383');
    await expect.poll(() => askRedis(redis.port, 'CLUSTER INFO'), { timeout: 20_000 }).toContain('cluster_state:ok');
    const client = await connect(`rediss+cluster://127.0.0.1:${tlsPort}`, ours());
    expect(await client.set('key', 'value')).toBe('OK');
  });

  it('works with a primary behind a sentinel', async () => {
    const { tlsPort } = await startTls();
    const sentinel = await startSentinel(tlsPort);
    const client = await connect(`rediss+sentinel://127.0.0.1:${sentinel}/main`, ours());
    expect(await client.set('key', 'value')).toBe('OK');
  });

  it.each([
    [
      'of another authority',
      async () => ({ caFile: write('foreign.pem', (await createCertificateAuthority('foreign')).cert) }),
      "the server's certificate is not signed by an authority of",
    ],
    [
      'of an authority that is not set',
      async () => ({ caFile: '' }),
      "the server's certificate is not signed by an authority that is known here; set CKV_REDIS_TLS_CA_FILE",
    ],
    [
      'of another name',
      async () => ({ serverName: 'redis.internal' }),
      "the server's certificate is for another name; call the server by a name of its certificate, or set serverName",
    ],
    [
      'that asks for a client certificate',
      async () => ({ certFile: '', keyFile: '' }),
      'the server requires a client certificate; set CKV_REDIS_TLS_CERT_FILE',
    ],
  ])('says why it cannot reach a server %s', async (_, options, text) => {
    const { tlsPort } = await startTls();
    await expect(connect(`rediss://127.0.0.1:${tlsPort}`, ours(await options()), 2_000)).rejects.toMatchObject(
      refusal(text),
    );
  });

  it('says why it cannot reach a cluster, and a sentinel', async () => {
    const { tlsPort } = await startTls('--cluster-enabled', 'yes');
    const foreign = ours({ caFile: write('foreign.pem', (await createCertificateAuthority('foreign')).cert) });
    for (const url of [`rediss+cluster://127.0.0.1:${tlsPort}`, `rediss+sentinel://127.0.0.1:${tlsPort}/main`]) {
      await expect(connect(url, foreign, 5_000)).rejects.toMatchObject(
        refusal("the server's certificate is not signed by an authority of"),
      );
    }
  });

  it('cannot reach a server without TLS', async () => {
    const { redis } = await startTls();
    // Redis waits for more bytes, and closes the connection when a command line grows too long or the client leaves.
    await expect(connect(`rediss://127.0.0.1:${redis.port}`, ours(), 2_000)).rejects.toMatchObject({
      reason: 'dependency_unavailable',
    });
  });

  it('expects the name that is set instead of the host, also for nodes that are known by address', async () => {
    await writePair('server', { hosts: ['redis.internal'] });
    const { tlsPort } = await startTls();
    const client = await connect(`rediss://127.0.0.1:${tlsPort}`, ours({ serverName: 'redis.internal' }));
    expect(await client.ping()).toBe('PONG');
  });

  it('connects again with the certificates of that time', async () => {
    const next = await createCertificateAuthority('next');
    const { tlsPort, redis } = await startTls();
    const outcomes: FileOutcome[] = [];
    const client = await connect(
      `rediss://127.0.0.1:${tlsPort}`,
      ours({ onFileOutcome: (outcome) => outcomes.push(outcome) }),
    );
    write('ca.pem', `${authority.cert}\n${next.cert}`);
    await writePair('client', { usages: ['client'] }, next);
    await expect
      .poll(() => outcomes, { timeout: 30_000 })
      .toMatchObject([{ field: 'CKV_REDIS_TLS_CERT_FILE', problem: undefined }]);
    // The server takes the next authority only: nothing of the former one is accepted.
    const admin = await connectedRedis(redis.url, { field: 'url', name: 'admin', whenAway: 'fail' });
    clients.push(admin);
    await writePair('server', { usages: ['server'] }, next);
    write('server-ca.pem', next.cert);
    await admin.config('SET', 'tls-ca-cert-file', join(dir, 'server-ca.pem')); // reads the other files again, too
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await expect.poll(() => client.ping().catch(() => ''), { timeout: 30_000 }).toBe('PONG');
  });
});

it('refuses TLS files for a URL without TLS, and names the variables', () => {
  const connectPlain = () => connect('redis://127.0.0.1:1', ours());
  return expect(connectPlain()).rejects.toMatchObject({
    reason: 'invalid_request',
    message: 'CKV_REDIS_TLS_CA_FILE: is set, but CKV_REDIS_URL begins with redis; begin it with rediss, or unset this',
  });
});

/** Starts a sentinel that uses TLS alone, towards its clients and the primary. Returns its port. */
async function startSentinel(primaryPort: number): Promise<number> {
  const folder = join(dir, 'sentinel');
  mkdirSync(folder);
  const [port, tlsPort] = [await freePort(), await freePort()];
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `tls-port ${tlsPort}`,
    `tls-cert-file ${join(dir, 'server.pem')}`,
    `tls-key-file ${join(dir, 'server.key')}`,
    `tls-ca-cert-file ${join(dir, 'ca.pem')}`,
    'tls-replication yes',
    `sentinel monitor main 127.0.0.1 ${primaryPort} 1`,
  ];
  const config = write('sentinel/sentinel.conf', `${lines.join('\n')}\n`);
  const server: ServerProcess = await launchServer(await findRedis({ dir: shared }), {
    args: [config, '--sentinel'],
    port,
  });
  servers.push(server);
  return tlsPort;
}
