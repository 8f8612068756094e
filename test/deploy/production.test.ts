// The overlay production, as far as it runs without Kubernetes. Every service and the console has its environment, its
// tokens, mutual TLS, and a Redis with the users of docs/configuration.md. Ports and folders are other ones.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createCollectiveKvClient } from '@collectivekv/client';
import { createCertificateAuthority } from '@collectivekv/private-ca';
import {
  askRedis,
  findRedis,
  freePort,
  type PrivateRedis,
  startPrivateRedis,
  supportsTls,
} from '@collectivekv/private-redis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { environmentOf, type Manifest, ofKind, readManifests, servicesOf } from './manifests.js';
import { renderOverlay } from './render.js';
import { ROOT, toolOf } from './tools.js';
import { startTreeService, type TreeService } from './tree-service.js';

const SERVICES = ['pool', 'user-cache', 'ranking', 'updater', 'console'] as const;
const TOKENS = {
  feed: 'rank,write',
  ranking: 'read',
  updater: 'read,append',
  console: 'read,rank',
  people: 'read',
} as const;
const kubectl = toolOf('kubectl');
const wait = { timeout: 60_000 };

const dir = mkdtempSync(join(tmpdir(), 'ckv-production-'));
const REDIS_DIR = join(dir, 'redis-server');
const hasTls = supportsTls(await findRedis({ dir: REDIS_DIR }));
const tokenOf = (who: keyof typeof TOKENS) => `a-token-for-tests-of-${who}`;
const running = new Map<string, TreeService>();
const servers: PrivateRedis[] = [];
let manifests: readonly Manifest[];

/** Writes the Secrets: those that READMEs describe, those of the Certificates, and one for Redis. */
async function writeSecrets(redisPort: number): Promise<void> {
  const write = (path: string, text: string) => {
    mkdirSync(join(dir, 'secrets', dirname(path)), { recursive: true });
    writeFileSync(join(dir, 'secrets', path), text);
  };
  const authority = await createCertificateAuthority();
  const certified = ofKind(manifests, 'Certificate').filter((one) => !one.spec?.isCA);
  const owners: Manifest['spec'][] = [...certified.map(({ spec }) => spec), { secretName: 'redis-server' }];
  for (const { secretName, dnsNames = [] } of owners.map((owner) => owner ?? {})) {
    const { cert, key } = await authority.issue({ hosts: ['127.0.0.1', ...dnsNames] });
    write(`${secretName}/tls.crt`, cert);
    write(`${secretName}/tls.key`, key);
    write(`${secretName}/ca.crt`, authority.cert);
  }
  for (const user of ['user-cache', 'ranking', 'updater', 'operator']) {
    write(`redis/${user}-url`, `rediss://${user}:PASSWORD@127.0.0.1:${redisPort}`);
  }
  write('redis/ca.pem', authority.cert);
  const lines = Object.entries(TOKENS).map(
    ([who, roles]) => `${roles} ${tokenOf(who as keyof typeof TOKENS)} ${who}\n`,
  );
  write('tokens/tokens', lines.join(''));
  for (const who of ['ranking', 'updater', 'console'] as const) write(`tokens/${who}`, tokenOf(who));
}

/** Starts a Redis with TLS and the users of the documentation, and a replica, which confirms writes. */
async function startRedis(tlsPort: number): Promise<void> {
  const start = (name: string, args: string[]) => startPrivateRedis({ dir: REDIS_DIR, dataDir: join(dir, name), args });
  const secret = join(dir, 'secrets/redis-server');
  const tls = [
    ...['--tls-port', String(tlsPort), '--tls-auth-clients', 'no', '--tls-cert-file', join(secret, 'tls.crt')],
    ...['--tls-key-file', join(secret, 'tls.key'), '--tls-ca-cert-file', join(secret, 'ca.crt')],
  ];
  const primary = await start('primary', tls);
  servers.push(primary);
  const { port } = new URL(primary.url);
  servers.push(await start('replica', ['--replicaof', '127.0.0.1', port]));
  const page = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8');
  for (const [command] of page.matchAll(/ACL SETUSER .*/g)) await askRedis(Number(port), command);
}

/** Puts a pod's files into a folder. Returns the environment of its container with these files and the real targets. */
function environmentHere(service: string): Record<string, string> {
  const workload = servicesOf(manifests).find(({ metadata }) => metadata.name === service);
  const [container] = workload?.spec.template.spec.containers ?? [];
  if (!workload || !container) throw new Error(`production has no ${service}`);
  const pod = join(dir, 'pods', service);
  for (const { name, mountPath } of container.volumeMounts ?? []) {
    const volume = workload.spec.template.spec.volumes?.find((one) => one.name === name);
    const from = join(dir, 'secrets', volume?.secret?.secretName ?? 'none');
    mkdirSync(join(pod, mountPath), { recursive: true });
    for (const { key, path } of volume?.secret?.items ?? []) cpSync(join(from, key), join(pod, mountPath, path));
    if (volume?.secret && !volume.secret.items) cpSync(from, join(pod, mountPath), { recursive: true });
  }
  if (service === 'pool') cpSync(join(ROOT, 'bundles/demo'), join(pod, 'bundles/demo'), { recursive: true });
  const here = (name: string, value: string) => {
    if (/_(FILE|DIR)$/.test(name) && value !== '') return join(pod, value);
    return value.replace(/(?:dns:\/\/\/)?([\w-]+):(\d+)/g, (whole, host, port) => {
      const found = running.get(host);
      return (port === '9464' ? found?.metricsAddress : found?.address) ?? whole;
    });
  };
  const env = Object.entries(environmentOf(manifests, container)).map(([name, value]) => [name, here(name, value)]);
  return { ...Object.fromEntries(env), CKV_BIND: '127.0.0.1:0', CKV_METRICS_BIND: '127.0.0.1:0' };
}

/** Asks the console over HTTPS, without a client certificate. */
async function askConsole(path: string, token: string): Promise<{ status: number; answer: Record<string, unknown> }> {
  const ca = readFileSync(join(dir, 'secrets/console-tls/ca.crt'));
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    const sent = request(`https://${running.get('console')?.address}/api/${path}`, { method: 'POST', ca, headers });
    sent.once('error', reject).once('response', async (response) => {
      const pieces: Buffer[] = [];
      for await (const piece of response) pieces.push(piece as Buffer);
      resolve({ status: response.statusCode ?? 0, answer: JSON.parse(Buffer.concat(pieces).toString()) });
    });
    sent.end(path === 'user' ? '{"userId":"u"}' : '{}');
  });
}

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.runIf(kubectl && hasTls)('the overlay production', () => {
  beforeAll(async () => {
    manifests = readManifests(await renderOverlay(kubectl ?? '', 'production'));
    const redisPort = await freePort();
    await writeSecrets(redisPort);
    await startRedis(redisPort);
    for (const service of SERVICES)
      running.set(service, await startTreeService(ROOT, service, environmentHere(service), {}));
  }, 120_000);
  afterAll(async () => {
    for (const { child } of running.values()) child.kill('SIGKILL');
    for (const server of servers) await server.stop();
  });

  it('records and ranks for a backend with a token and a certificate, and for no other', async () => {
    const pod = join(dir, 'secrets/ranking-tls');
    const options = {
      rankingTarget: running.get('ranking')?.address ?? '',
      interactionTarget: running.get('updater')?.address ?? '',
      tlsCaFile: join(pod, 'ca.crt'),
      rankTimeoutMs: 10_000,
      recordTimeoutMs: 30_000,
    };
    const certificate = { tlsClientCertFile: join(pod, 'tls.crt'), tlsClientKeyFile: join(pod, 'tls.key') };
    const client = createCollectiveKvClient({ ...options, ...certificate, token: tokenOf('feed') });
    const reader = createCollectiveKvClient({ ...options, ...certificate, token: tokenOf('people') });
    const stranger = createCollectiveKvClient({ ...options, token: tokenOf('feed') });
    const query = { userId: 'u', candidateIds: ['i0002'] };
    await client.recordInteractions([{ userId: 'u', itemId: 'i0001', action: 'like' }]);
    await expect.poll(async () => (await client.rank(query)).info.positionCount, wait).toBe(1);
    await expect(reader.rank(query)).rejects.toMatchObject({ reason: 'permission_denied' });
    await expect(stranger.rank(query)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    for (const one of [client, reader, stranger]) one.close();
  });

  it('shows the console to a browser with a token over HTTPS', async () => {
    const seen = async () => {
      const { answer } = await askConsole('fleet', tokenOf('people'));
      return (answer.replicas as { service: string }[]).map(({ service }) => service);
    };
    await expect.poll(seen, wait).toEqual(['ranking', 'updater', 'user-cache', 'pool']);
    expect((await askConsole('user', tokenOf('people'))).answer).toMatchObject({ record: { positionCount: 1 } });
    expect((await askConsole('queue', tokenOf('people'))).answer).toMatchObject({ waiting: 0, setAside: 0 });
    expect(await askConsole('fleet', tokenOf('feed'))).toMatchObject({ status: 403 });
    expect(await askConsole('fleet', '')).toMatchObject({ status: 401 });
  });

  it('needs no right in Redis, role or certificate that it does not have', () => {
    const refused = /NOPERM|NOAUTH|permission|unauthenticated|certificate/i;
    const lines = [...running].flatMap(([service, { log }]) =>
      log()
        .split('\n')
        .map((line) => `${service}: ${line}`),
    );
    expect(
      lines.filter((line) => refused.test(line) && !line.includes('"people"') && !line.includes('"feed"')),
    ).toEqual([]);
  });
});
