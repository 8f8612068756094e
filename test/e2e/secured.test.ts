// Every connection with mutual TLS, tokens with roles, and a Redis user with the least rights for each service.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { type ClientOptions, createCollectiveKvClient } from '@collectivekv/client';
import type { CertificateAuthority } from '@collectivekv/private-ca';
import { createGrpcClient, type GrpcClientOptions } from '@collectivekv/rpc';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { interactionsOf } from './e2e-stack.js';
import { pythonWith } from './python.js';
import { redisHasTls, type SecuredStack, startSecuredStack, twoAuthorities } from './secured-stack.js';

vi.setConfig({ testTimeout: 180_000 }); // a busy machine

const SERVICES = ['pool', 'user-cache', 'ranking', 'updater'] as const;
const root = fileURLToPath(new URL('../..', import.meta.url));
const available = await redisHasTls();

describe.skipIf(!available)('a secured stack', () => {
  let secured: SecuredStack;
  let first: CertificateAuthority;
  let second: CertificateAuthority;
  let clients: { close(): void }[] = [];
  beforeAll(async () => {
    [first, second] = await twoAuthorities();
    secured = await startSecuredStack(first);
  }, 180_000);
  afterAll(() => secured?.close(), 60_000);
  afterEach(() => {
    for (const client of clients) client.close();
    clients = [];
  });

  /** Options of the feed's calls. */
  const feed = (): GrpcClientOptions => ({
    tokenFile: secured.path('feed/token'),
    tlsCaFile: secured.path('ca.pem'),
    tlsClientCertFile: secured.path('feed/cert.pem'),
    tlsClientKeyFile: secured.path('feed/key.pem'),
  });

  function sdk(options: ClientOptions = {}) {
    const { ranking, updater } = secured.stack.targets;
    const targets = { rankingTarget: ranking, interactionTarget: updater };
    const client = createCollectiveKvClient({ ...targets, rankTimeoutMs: 20_000, ...feed(), ...options });
    clients.push(client);
    return client;
  }

  const rankOf = (client: ReturnType<typeof sdk>, userId: string) => client.rank({ userId, candidateIds: ['i0001'] });

  it('records and ranks', async () => {
    const client = sdk();
    await client.recordInteractions(interactionsOf('u', 3));
    await expect
      .poll(async () => (await rankOf(client, 'u')).info, { timeout: 30_000 })
      .toMatchObject({ rung: 'full', positionCount: 3 });
  });

  it('uses TLS and its own user for every connection to Redis, and no user was refused', async () => {
    const lines = String(await secured.admin.call('CLIENT', 'LIST')).split('\n');
    const usersOf = (name: string) =>
      lines.filter((line) => new RegExp(` name=ckv-${name}`).test(line)).map((line) => /user=(\S+)/.exec(line)?.[1]);
    for (const name of ['ranking', 'user-cache', 'updater']) {
      expect(usersOf(name).length).toBeGreaterThan(0);
      expect(new Set(usersOf(name))).toEqual(new Set([name]));
    }
    expect(await secured.admin.call('ACL', 'LOG')).toEqual([]);
  });

  const refused = 'dependency_unavailable';
  it.each([
    [
      'no certificate',
      () => ({ tlsClientCertFile: '', tlsClientKeyFile: '' }),
      refused,
      'requires a client certificate',
    ],
    [
      'plain text',
      () => ({ tlsCaFile: '', tlsClientCertFile: '', tlsClientKeyFile: '' }),
      refused,
      'cannot be reached',
    ],
    ['no token', () => ({ tokenFile: '' }), 'unauthenticated', 'the bearer token is missing or wrong'],
    [
      'a wrong token',
      () => ({ tokenFile: '', token: 'a-wrong-token-0123456789' }),
      'unauthenticated',
      'missing or wrong',
    ],
    [
      'the token of another role',
      () => ({ tokenFile: secured.path('operator/token') }),
      'permission_denied',
      'RankingService/RankStream needs a token with the role rank',
    ],
  ])('refuses a caller with %s', async (_, options, reason, text) => {
    await expect(rankOf(sdk({ ...options(), maxAttempts: 1 }), 'u')).rejects.toMatchObject({
      reason,
      message: expect.stringContaining(text),
    });
  });

  it('refuses a certificate of an authority that it does not know', async () => {
    const { cert, key } = await second.issue();
    writeFileSync(secured.path('foreign.pem'), cert);
    writeFileSync(secured.path('foreign.key'), key);
    const foreign = { tlsClientCertFile: secured.path('foreign.pem'), tlsClientKeyFile: secured.path('foreign.key') };
    await expect(rankOf(sdk({ ...foreign, maxAttempts: 1 }), 'u')).rejects.toMatchObject({ reason: refused });
  });

  it('lets a feed backend neither switch bundles nor touch records', async () => {
    const pool = createGrpcClient('PoolService', secured.stack.targets.pool, feed());
    const userCache = createGrpcClient('UserCacheService', secured.stack.targets['user-cache'], feed());
    clients.push(pool, userCache);
    await expect(pool.call('Rollback', {})).rejects.toMatchObject({
      reason: 'permission_denied',
      message: expect.stringContaining(
        'PoolService/Rollback needs a token with the role admin; this token has rank, write',
      ),
    });
    await expect(userCache.call('DeleteRecord', { userId: 'u' })).rejects.toMatchObject({
      reason: 'permission_denied',
    });
    await expect(userCache.call('GetRecords', { userIds: ['u'] })).rejects.toMatchObject({
      reason: 'permission_denied',
    });
  });

  it('lets an operator work with ckv', () => {
    const { targets } = secured.stack;
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [`${root}packages/cli/bin/ckv.js`, '--json', ...args], {
        encoding: 'utf8',
        env: {
          PATH: process.env.PATH ?? '',
          CKV_POOL_TARGET: targets.pool,
          CKV_USER_CACHE_TARGET: targets['user-cache'],
          CKV_RANKING_TARGET: targets.ranking,
          CKV_TOKEN_FILE: secured.path('operator/token'),
          CKV_TLS_CA_FILE: secured.path('ca.pem'),
          CKV_TLS_CLIENT_CERT_FILE: secured.path('operator/cert.pem'),
          CKV_TLS_CLIENT_KEY_FILE: secured.path('operator/key.pem'),
          CKV_QUEUE_REDIS_URL: secured.redisUrl('operator'),
          CKV_REDIS_TLS_CA_FILE: secured.path('ca.pem'),
          CKV_REDIS_TLS_CERT_FILE: secured.path('operator/cert.pem'),
          CKV_REDIS_TLS_KEY_FILE: secured.path('operator/key.pem'),
        },
      });
    const answerOf = (...args: string[]) => {
      const { stdout, stderr } = run(...args);
      expect(stderr).toBe('');
      return JSON.parse(stdout);
    };
    expect(answerOf('bundle', 'list')).toHaveLength(1);
    expect(answerOf('user', 'show', 'u')).toMatchObject({ positionCount: 3 });
    expect(answerOf('stats')).toMatchObject({ positionCount: 3 });
    expect(answerOf('queue', 'status')).toMatchObject({ failed: 0 });
    const denied = run('rank', 'u', 'i0001');
    expect(denied.stderr).toContain('needs a token with the role rank');
    expect(denied.status).toBe(1);
  });

  const python = pythonWith('grpc, grpc_tools, bullmq');
  it.skipIf(!python)('lets a Python backend queue and rank', () => {
    const [ca, cert, key] = ['ca.pem', 'feed/cert.pem', 'feed/key.pem'].map(secured.path) as [string, string, string];
    const query = new URLSearchParams({ ssl_ca_certs: ca, ssl_certfile: cert, ssl_keyfile: key });
    const script = fileURLToPath(new URL('./python_secured_client.py', import.meta.url));
    const args = [script, `${root}proto`, `${secured.redisUrl('backend')}/0?${query}`, secured.stack.targets.ranking];
    const run = spawnSync(python ?? '', [...args, ca, cert, key, secured.tokenOf('feed')], { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.stdout).toBe('1\n');
  });

  /** Returns the serial number of the certificate that a service gives a new connection. */
  function serialOf(target: string): Promise<string> {
    const [host = '', port] = target.split(':');
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.on('error', reject);
    });
  }

  /** Returns how many changed files a service uses that one of these variables names. */
  const usedCount = (service: (typeof SERVICES)[number], variable: string) =>
    secured
      .log(service)
      .split('\n')
      .filter((line) => line.includes('a changed file is used') && line.includes(`"${variable}"`)).length;

  /** Waits until every service uses one more version of a file. */
  async function untilUsed(variable: string, counts: ReadonlyMap<string, number>): Promise<void> {
    for (const service of SERVICES) {
      await expect
        .poll(() => usedCount(service, variable), { timeout: 60_000 })
        .toBeGreaterThan(counts.get(service) ?? 0);
    }
  }

  const countsOf = (variable: string) => new Map(SERVICES.map((service) => [service, usedCount(service, variable)]));

  it('moves to other certificates, another authority and other tokens under load, and no request fails', async () => {
    const failures: unknown[] = [];
    let requestCount = 0;
    let recordedCount = 0;
    let over = false;
    const outcomes: unknown[] = [];
    const client = sdk({ onFileOutcome: (outcome) => outcomes.push(outcome), maxAttempts: 1 });
    const untilOver = async (request: () => Promise<unknown>) => {
      for (; !over && failures.length === 0; requestCount++) await request().catch((error) => failures.push(error));
    };
    const load = Promise.all([
      untilOver(() => rankOf(client, 'u')),
      untilOver(async () => {
        await client.recordInteractions(interactionsOf('rotation', 1, recordedCount));
        recordedCount++;
      }),
    ]);
    try {
      await rotateAll(client, outcomes);
    } finally {
      over = true;
      await load;
    }
    expect(failures).toEqual([]);
    expect(requestCount).toBeGreaterThan(100);

    const late = sdk();
    await expect
      .poll(async () => (await rankOf(late, 'rotation')).info.positionCount, { timeout: 60_000 })
      .toBe(Math.min(recordedCount, 1_000));
    for (const service of SERVICES) {
      expect(secured.log(service)).not.toContain('a changed file is not used');
      expect(secured.log(service)).not.toMatch(/token-\d-of-the/);
    }
  }, 300_000);

  /** Changes every token and certificate, one step after another, as docs/security.md says. */
  async function rotateAll(client: ReturnType<typeof sdk>, outcomes: readonly unknown[]): Promise<void> {
    // Tokens: accept both, send the new one, accept the new one alone.
    let counts = countsOf('CKV_TOKENS_FILE');
    secured.renewTokens(true);
    await untilUsed('CKV_TOKENS_FILE', counts);
    secured.sendNewTokens();
    await expect.poll(() => outcomes.length, { timeout: 60_000 }).toBe(2); // of the calls to ranking, and to the updater
    await expect.poll(() => usedCount('ranking', 'CKV_TOKEN_FILE'), { timeout: 60_000 }).toBeGreaterThan(0);
    await expect.poll(() => usedCount('updater', 'CKV_TOKEN_FILE'), { timeout: 60_000 }).toBeGreaterThan(0);
    await rankOf(client, 'u'); // requests that carry the former token have ended
    await client.recordInteractions(interactionsOf('settled', 1));
    counts = countsOf('CKV_TOKENS_FILE');
    secured.acceptNewTokens();
    await untilUsed('CKV_TOKENS_FILE', counts);

    // Certificates: trust both authorities, change the certificates, trust the second alone.
    counts = countsOf('CKV_TLS_CERT_FILE');
    secured.trust(first, second);
    await untilUsed('CKV_TLS_CERT_FILE', counts);
    counts = countsOf('CKV_TLS_CERT_FILE');
    const { targets } = secured.stack;
    const before = await Promise.all(SERVICES.map((service) => serialOf(targets[service])));
    await secured.issueAll(second);
    for (const [i, service] of SERVICES.entries()) {
      await expect.poll(() => serialOf(targets[service]), { timeout: 60_000 }).not.toBe(before[i]);
    }
    await untilUsed('CKV_TLS_CERT_FILE', counts);
    counts = countsOf('CKV_TLS_CERT_FILE');
    secured.trust(second);
    await untilUsed('CKV_TLS_CERT_FILE', counts);
    await secured.reloadRedis();

    // After a restart the user-cache and the updater connect again: with the certificates of now.
    const [userCache] = secured.stack.services['user-cache'];
    await userCache?.kill('SIGTERM');
    await userCache?.restart();
  }
});
