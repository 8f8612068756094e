import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toCkvError } from '@collectivekv/domain';
import { type CertificateAuthority, createCertificateAuthority } from '@collectivekv/private-ca';
import { createGrpcClient } from '@collectivekv/rpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { commonConfig, parseConfig } from './config.js';
import { createFileReports } from './file-reports.js';
import { clientOptionsOf, createServiceServer } from './grpc-options.js';
import { createLogger } from './log.js';
import { createMetrics } from './metrics.js';

const config = parseConfig(z.object(commonConfig({ port: 0 })), {});
const CKV_BIND = '0.0.0.0:0';
const CKV_TOKEN = 'a-token-of-24-characters';

let dir: string;
let authority: CertificateAuthority;
let tls: { CKV_TLS_CERT_FILE: string; CKV_TLS_KEY_FILE: string };
let warnings: object[];
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-options-'));
  authority = await createCertificateAuthority();
  const { cert, key } = await authority.issue();
  writeFileSync(join(dir, 'ca.pem'), authority.cert);
  tls = { CKV_TLS_CERT_FILE: join(dir, 'cert.pem'), CKV_TLS_KEY_FILE: join(dir, 'key.pem') };
  writeFileSync(tls.CKV_TLS_CERT_FILE, cert);
  writeFileSync(tls.CKV_TLS_KEY_FILE, key);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function serve(variables: Partial<typeof config>) {
  warnings = [];
  const log = {
    ...createLogger('test', 'silent'),
    debug: () => undefined,
    warn: () => undefined,
    error: () => undefined,
  };
  const metrics = createMetrics('test');
  const server = createServiceServer(
    { ...config, ...variables },
    { log: { ...log, warn: (fields: object) => void warnings.push(fields) }, metrics, onFileOutcome: () => undefined },
  );
  return { server, metrics };
}

describe('createServiceServer', () => {
  it('refuses an address beyond loopback that nothing guards', () => {
    expect(() => serve({ CKV_BIND })).toThrow(/CKV_BIND: 0\.0\.0\.0:0 is beyond loopback/);
  });

  it('refuses an address beyond loopback that only TLS guards', () => {
    expect(() => serve({ CKV_BIND, ...tls })).toThrow(/CKV_BIND: 0\.0\.0\.0:0 is beyond loopback/);
  });

  it.each([
    ['guarded by a token', { CKV_TOKEN }],
    ['allowed by the operator', { CKV_ALLOW_INSECURE: true }],
  ])('accepts an address beyond loopback that is %s', (_, guard) => {
    expect(() => serve({ CKV_BIND, ...guard })).not.toThrow();
  });

  it('accepts client certificates as a guard, and says when its own certificate ends', async () => {
    const { server, metrics } = serve({ CKV_BIND, ...tls, CKV_TLS_CLIENT_CA_FILE: join(dir, 'ca.pem') });
    expect(warnings).toEqual([]);
    const end = Math.floor(server.certificateEndMs() / 1000);
    expect(end).toBeGreaterThan(0);
    expect(await metrics.registry.metrics()).toContain(`ckv_tls_certificate_end_seconds{service="test"} ${end}`);
  });

  it('warns if tokens come in plain text from beyond loopback, and not otherwise', () => {
    serve({ CKV_BIND, CKV_TOKEN });
    expect(warnings).toEqual([
      { problem: expect.stringMatching(/^CKV_BIND: 0.0.0.0:0 is beyond loopback without TLS/) },
    ]);
    serve({ CKV_BIND, CKV_TOKEN, ...tls });
    expect(warnings).toEqual([]);
    serve({ CKV_TOKEN });
    expect(warnings).toEqual([]);
  });
});

describe('an error of an option names its variable', () => {
  it.each([
    [{ CKV_TLS_CA_FILE: '/nowhere' }, /^CKV_TLS_CA_FILE: \/nowhere cannot be read/],
    [{ CKV_TLS_CLIENT_CERT_FILE: '/nowhere' }, /^CKV_TLS_CLIENT_CERT_FILE: is set without CKV_TLS_CA_FILE/],
    [{ CKV_TLS_SERVER_NAME: 'name' }, /^CKV_TLS_SERVER_NAME: is set without CKV_TLS_CA_FILE/],
    [{ CKV_TOKEN_FILE: '/nowhere' }, /^CKV_TOKEN_FILE: \/nowhere cannot be read/],
    [{ CKV_TLS_CA_FILE: '/ca', CKV_TLS_CERT_FILE: '/nowhere' }, /^CKV_TLS_CERT_FILE: is set without the file of its/],
    [
      { CKV_TLS_CA_FILE: '/ca', CKV_TLS_CERT_FILE: '/nowhere', CKV_TLS_KEY_FILE: '/key' },
      /^CKV_TLS_CERT_FILE: \/nowhere /,
    ],
    [
      { CKV_TLS_CA_FILE: '/ca', CKV_TLS_CLIENT_CERT_FILE: '/nowhere', CKV_TLS_CLIENT_KEY_FILE: '/key' },
      /^CKV_TLS_CLIENT_CERT_FILE: \/nowhere cannot be read/,
    ],
  ])('of calls: %j', (variables, message) => {
    const options = clientOptionsOf({ ...config, ...variables }, () => undefined);
    expect(() => createGrpcClient('PoolService', 'a:1', options)).toThrow(message);
  });

  it.each([
    [{ CKV_TLS_CERT_FILE: '/nowhere' }, /^CKV_TLS_CERT_FILE: is set without the file of its private key/],
    [{ CKV_TLS_KEY_FILE: '/nowhere' }, /^CKV_TLS_KEY_FILE: is set without the file of its certificate/],
    [{ CKV_TLS_CLIENT_CA_FILE: '/nowhere' }, /^CKV_TLS_CLIENT_CA_FILE: is set without CKV_TLS_CERT_FILE/],
    [{ CKV_TOKENS_FILE: '/nowhere' }, /^CKV_TOKENS_FILE: \/nowhere cannot be read/],
  ])('of the server: %j', (variables, message) => {
    expect(() => serve(variables)).toThrow(message);
  });
});

it('a service shows its own certificate to others, unless it has another one for calls', () => {
  const calls = { ...config, ...tls, CKV_TLS_CA_FILE: join(dir, 'ca.pem') };
  const optionsOf = (variables: Partial<typeof config>) => clientOptionsOf({ ...calls, ...variables }, () => undefined);
  expect(optionsOf({}).tlsClientCertFile).toBe(tls.CKV_TLS_CERT_FILE);
  const other = { CKV_TLS_CLIENT_CERT_FILE: '/other', CKV_TLS_CLIENT_KEY_FILE: '/other.key' };
  expect(optionsOf(other)).toMatchObject({ tlsClientCertFile: '/other', tlsClientKeyFile: '/other.key' });
  expect(optionsOf({ CKV_TLS_CA_FILE: '' }).tlsClientCertFile).toBe('');
});

it('reports a problem with a changed file in the log and in a metric, until every reader can use it', async () => {
  const lines: object[] = [];
  const add = (fields: object) => void lines.push(fields);
  const metrics = createMetrics('test');
  const report = createFileReports({ info: add, error: add }, metrics);
  const gauge = async () =>
    /^ckv_credential_file_problem\{.*variable="CKV_TOKENS_FILE".*\} (\d)$/m.exec(await metrics.registry.metrics())?.[1];
  const problem = failureOf(() => serve({ CKV_TOKENS_FILE: '/nowhere' }));
  const [one, other] = [{}, {}];
  report({ field: 'CKV_TOKENS_FILE', reader: one, problem });
  expect(lines).toEqual([{ problem: problem.message }]);
  expect(await gauge()).toBe('1');
  report({ field: 'CKV_TOKENS_FILE', reader: other, problem: undefined }); // has no problem with the same file
  expect(await gauge()).toBe('1');
  report({ field: 'CKV_TOKENS_FILE', reader: one, problem: undefined });
  expect(await gauge()).toBe('0');
});

function failureOf(work: () => unknown) {
  try {
    work();
  } catch (error) {
    return toCkvError(error);
  }
  throw new Error('it did not fail');
}
