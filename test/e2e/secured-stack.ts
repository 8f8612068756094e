import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Stack, startStack } from '@collectivekv/dev-stack';
import { type CertificateAuthority, createCertificateAuthority } from '@collectivekv/private-ca';
import { findRedis, freePort, type PrivateRedis, startPrivateRedis, supportsTls } from '@collectivekv/private-redis';
import {
  type AccessRules,
  accessRuleWords,
  closeRedis,
  connectedRedis,
  type RedisClient,
} from '@collectivekv/redis-connection';
import { queueOperatorAccess, queueProducerAccess, queueServiceAccess } from '@collectivekv/update-queue';
import { recordReaderAccess, recordWriterAccess } from '@collectivekv/user-store';
import { DEMO_BUNDLE } from './e2e-stack.js';

/** The owners of certificates and tokens. */
const OWNERS = ['pool', 'user-cache', 'ranking', 'updater', 'feed', 'operator'] as const;
type Owner = (typeof OWNERS)[number];

/** The roles of each owner's token. */
const ROLES_OF: Readonly<Partial<Record<Owner, string>>> = {
  ranking: 'read',
  updater: 'read,append',
  feed: 'rank,write',
  operator: 'admin',
};

/** The rights of each Redis user. */
const REDIS_ACCESS: Readonly<Record<string, AccessRules>> = {
  ranking: recordReaderAccess('ckv'),
  'user-cache': recordWriterAccess('ckv'),
  updater: queueServiceAccess('ckv'),
  operator: queueOperatorAccess('ckv'),
  backend: queueProducerAccess('ckv'),
};

/** A stack with mutual TLS, roles, and a Redis with TLS and users. */
export interface SecuredStack {
  readonly stack: Stack;
  readonly dir: string;
  /** A Redis client with all rights, over plain text. */
  readonly admin: RedisClient;
  /** Returns the path of a file of this stack. */
  path(name: string): string;
  /** Returns the token of an owner as it is now. */
  tokenOf(owner: Owner): string;
  /** Returns the URL of Redis with TLS for one of its users. */
  redisUrl(user: string): string;
  /** Writes which authorities are trusted. */
  trust(...authorities: readonly CertificateAuthority[]): void;
  /** Gives every owner a certificate of this authority. */
  issueAll(by: CertificateAuthority): Promise<void>;
  /** Writes new tokens. The services accept the former ones as well if `both`, and the owners still send these. */
  renewTokens(both: boolean): void;
  /** Makes every owner send its newest token. */
  sendNewTokens(): void;
  /** Makes the services accept the newest tokens alone. */
  acceptNewTokens(): void;
  /** Makes Redis read its certificate files again, for the connections that follow. */
  reloadRedis(): Promise<unknown>;
  /** Returns the log of a service. */
  log(service: 'pool' | 'user-cache' | 'ranking' | 'updater'): string;
  close(): Promise<void>;
}

const PASSWORD = 'p/ss:w@rd-of-the-secured-test';

/** True if the redis-server of this machine can use TLS. */
export async function redisHasTls(): Promise<boolean> {
  return supportsTls(await findRedis({ dir: mkdtempSync(join(tmpdir(), 'ckv-find-')) }));
}

/** Starts the stack with certificates of `authority`. */
export async function startSecuredStack(authority: CertificateAuthority): Promise<SecuredStack> {
  const dir = mkdtempSync(join(tmpdir(), 'ckv-secured-'));
  const path = (name: string) => join(dir, name);
  const tokens: Partial<Record<Owner, string>> = {};
  const formerTokens: Partial<Record<Owner, string>> = {};
  let generation = 0;
  for (const owner of OWNERS) mkdirSync(path(owner));

  /** Replaces a file as a whole, as mounts of secrets do. */
  function write(name: string, content: string): void {
    writeFileSync(path(`${name}.next`), content);
    renameSync(path(`${name}.next`), path(name));
  }

  function trust(...authorities: readonly CertificateAuthority[]): void {
    write('ca.pem', authorities.map(({ cert }) => cert).join('\n'));
  }

  async function issueAll(by: CertificateAuthority): Promise<void> {
    for (const owner of OWNERS) {
      const { cert, key } = await by.issue({ commonName: owner });
      write(`${owner}/cert.pem`, cert);
      write(`${owner}/key.pem`, key);
    }
  }

  const linesOf = (of: Partial<Record<Owner, string>>, label: string) =>
    Object.entries(of).map(([owner, token]) => `${ROLES_OF[owner as Owner]} ${token} ${owner}-${label}`);

  function renewTokens(both: boolean): void {
    generation++;
    Object.assign(formerTokens, tokens);
    for (const owner of Object.keys(ROLES_OF) as Owner[]) tokens[owner] = `token-${generation}-of-the-${owner}`;
    const former = both ? linesOf(formerTokens, 'former') : [];
    write('tokens', `${[...linesOf(tokens, 'newest'), ...former].join('\n')}\n`);
  }

  function sendNewTokens(): void {
    for (const [owner, token] of Object.entries(tokens)) write(`${owner}/token`, `${token}\n`);
  }

  trust(authority);
  await issueAll(authority);
  renewTokens(false);
  sendNewTokens();

  const tlsPort = await freePort();
  const redis: PrivateRedis = await startPrivateRedis({
    dir: path('redis-server'),
    dataDir: path('redis'),
    args: [
      ...['--tls-port', String(tlsPort), '--tls-ca-cert-file', path('ca.pem')],
      ...['--tls-cert-file', path('pool/cert.pem'), '--tls-key-file', path('pool/key.pem')],
    ],
  });
  const admin = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  for (const [user, access] of Object.entries(REDIS_ACCESS)) {
    await admin.call('ACL', 'SETUSER', user, ...accessRuleWords(access, PASSWORD));
  }
  const redisUrl = (user: string) => `rediss://${user}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${tlsPort}`;
  const envOf = (owner: Owner) => ({
    CKV_LOG_LEVEL: 'debug',
    CKV_TOKENS_FILE: path('tokens'),
    CKV_TLS_CERT_FILE: path(`${owner}/cert.pem`),
    CKV_TLS_KEY_FILE: path(`${owner}/key.pem`),
    CKV_TLS_CLIENT_CA_FILE: path('ca.pem'),
    CKV_TLS_CA_FILE: path('ca.pem'),
    ...(ROLES_OF[owner] ? { CKV_TOKEN_FILE: path(`${owner}/token`) } : {}),
  });
  const redisTls = (owner: Owner) => ({
    CKV_REDIS_TLS_CA_FILE: path('ca.pem'),
    CKV_REDIS_TLS_CERT_FILE: path(`${owner}/cert.pem`),
    CKV_REDIS_TLS_KEY_FILE: path(`${owner}/key.pem`),
  });
  const stack = await startStack({
    dir,
    bundlesDir: DEMO_BUNDLE,
    redisUrl: redis.url,
    expectDeaths: true,
    env: {
      pool: envOf('pool'),
      'user-cache': { ...envOf('user-cache'), ...redisTls('user-cache'), CKV_REDIS_URL: redisUrl('user-cache') },
      ranking: { ...envOf('ranking'), ...redisTls('ranking'), CKV_REDIS_URL: redisUrl('ranking') },
      updater: { ...envOf('updater'), ...redisTls('updater'), CKV_QUEUE_REDIS_URL: redisUrl('updater') },
    },
  });
  await admin.call('ACL', 'LOG', 'RESET');

  return {
    stack,
    dir,
    admin,
    path,
    tokenOf: (owner) => tokens[owner] ?? '',
    redisUrl,
    trust,
    issueAll,
    renewTokens,
    sendNewTokens,
    acceptNewTokens: () => write('tokens', `${linesOf(tokens, 'newest').join('\n')}\n`),
    reloadRedis: () => admin.config('SET', 'tls-ca-cert-file', path('ca.pem')),
    log: (service) => readFileSync(path(`logs/${service}-0.log`), 'utf8'),
    async close() {
      await stack.stop();
      closeRedis(admin);
      await redis.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Makes two authorities: one for now, and one to move to. */
export function twoAuthorities(): Promise<[CertificateAuthority, CertificateAuthority]> {
  return Promise.all([createCertificateAuthority('first'), createCertificateAuthority('second')]);
}
