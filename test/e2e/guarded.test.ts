// Access control: a token and TLS on every connection, and a read-only Redis user for ranking.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCollectiveKvClient } from '@collectivekv/client';
import { type Stack, startStack } from '@collectivekv/dev-stack';
import { createCertificateAuthority } from '@collectivekv/private-ca';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEMO_BUNDLE, interactionsOf } from './e2e-stack.js';

const TOKEN = 'a-token-for-the-guarded-test';

describe('with one token and TLS', () => {
  let dir: string;
  let stack: Stack;
  let tlsCaFile: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'ckv-guarded-'));
    const authority = await createCertificateAuthority();
    const { cert, key } = await authority.issue();
    const files = { 'ca.pem': authority.cert, 'cert.pem': cert, 'key.pem': key };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content);
    tlsCaFile = join(dir, 'ca.pem');
    const guard = {
      CKV_TOKEN: TOKEN,
      CKV_TLS_CERT_FILE: join(dir, 'cert.pem'),
      CKV_TLS_KEY_FILE: join(dir, 'key.pem'),
      CKV_TLS_CA_FILE: tlsCaFile,
    };
    const env = { pool: guard, 'user-cache': guard, ranking: guard, updater: guard };
    stack = await startStack({ dir, bundlesDir: DEMO_BUNDLE, env });
  });
  afterAll(async () => {
    await stack?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  function client(access: { token?: string; tlsCaFile?: string }) {
    const { ranking, updater } = stack.targets;
    return createCollectiveKvClient({
      rankingTarget: ranking,
      interactionTarget: updater,
      rankTimeoutMs: 5_000,
      ...access,
    });
  }

  it('records and ranks for a client with the token and TLS', async () => {
    const kv = client({ token: TOKEN, tlsCaFile });
    await kv.recordInteractions(interactionsOf('u', 3));
    const position = async () => (await kv.rank({ userId: 'u', candidateIds: ['i0001'] })).info;
    await expect.poll(position, { timeout: 60_000 }).toMatchObject({ rung: 'full', positionCount: 3 });
    kv.close();
  });

  it.each([
    ['the token', () => ({ tlsCaFile }), 'unauthenticated'],
    ['the right token', () => ({ tlsCaFile, token: `${TOKEN}!` }), 'unauthenticated'],
    ['TLS', () => ({ token: TOKEN }), 'dependency_unavailable'],
  ])('refuses a client without %s', async (_, access, reason) => {
    const kv = client(access());
    await expect(kv.rank({ userId: 'u', candidateIds: ['i0001'] }, { timeoutMs: 2_000 })).rejects.toMatchObject({
      reason,
    });
    kv.close();
  });
});

describe('with a read-only Redis user', () => {
  const password = 'p/ss:w@rd-of-the-guarded-test';
  let dir: string;
  let redis: PrivateRedis;
  let admin: RedisClient;
  let stack: Stack;
  const setPassword = (text: string) =>
    admin.call('ACL', 'SETUSER', 'ranking', 'resetpass', 'on', `>${text}`, '~ckv:{*', '+get', '+info');
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'ckv-reader-'));
    redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
    admin = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
    await setPassword(password);
    const url = redis.url.replace('://', `://ranking:${encodeURIComponent(password)}@`);
    const env = { ranking: { CKV_REDIS_URL: url, CKV_LOG_LEVEL: 'debug' } };
    stack = await startStack({ dir, bundlesDir: DEMO_BUNDLE, redisUrl: redis.url, env });
  });
  afterAll(async () => {
    await stack?.stop();
    if (admin) closeRedis(admin);
    await redis?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('ranking reads records, ranks without history while its password is wrong, and never writes the password', async () => {
    const { ranking, updater } = stack.targets;
    const kv = createCollectiveKvClient({ rankingTarget: ranking, interactionTarget: updater, rankTimeoutMs: 5_000 });
    await kv.recordInteractions(interactionsOf('u', 3));
    const rung = async () => (await kv.rank({ userId: 'u', candidateIds: ['i0001'] })).info;
    const withHistory = { rung: 'full', positionCount: 3 };
    await expect.poll(rung, { timeout: 60_000 }).toMatchObject(withHistory);
    await setPassword('another');
    await admin.call('CLIENT', 'KILL', 'USER', 'ranking');
    const log = () => readFileSync(join(dir, 'logs', 'ranking-0.log'), 'utf8');
    await expect.poll(log, { timeout: 60_000 }).toContain('WRONGPASS');
    expect(await rung()).toMatchObject({ rung: 'no_history', rungReason: 'dependency_unavailable' });
    await setPassword(password);
    await expect.poll(rung, { timeout: 60_000 }).toMatchObject(withHistory);
    kv.close();
    for (const text of [password, encodeURIComponent(password)]) expect(log()).not.toContain(text);
    expect(statSync(join(dir, 'stack.json')).mode & 0o777).toBe(0o600);
  });
});
