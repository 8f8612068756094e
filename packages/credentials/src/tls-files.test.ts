import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CertificateAuthority, createCertificateAuthority } from '@collectivekv/private-ca';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NamedFile } from './small-file.js';
import { followTlsFiles, type TlsFiles, type TlsMaterial } from './tls-files.js';

const YEAR_2001 = new Date('2001-01-01T00:00:00.000Z');
const YEAR_2002 = new Date('2002-01-01T00:00:00.000Z');
const YEAR_2200 = new Date('2200-01-01T00:00:00.000Z');

let dir: string;
let authority: CertificateAuthority;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-tls-'));
  authority = await createCertificateAuthority();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(field: string, content: string): NamedFile {
  const path = join(dir, `${field}-${Math.random()}`);
  writeFileSync(path, content);
  return { field, path };
}

function read(files: TlsFiles): TlsMaterial {
  const followed = followTlsFiles(files);
  followed.close();
  return followed.current;
}

async function pairOf(options?: Parameters<CertificateAuthority['issue']>[0]) {
  const { cert, key } = await authority.issue(options);
  return { certificate: file('CERT', cert), key: file('KEY', key) };
}

describe('followTlsFiles', () => {
  it('reads authorities, a certificate with its intermediates, and its key', async () => {
    const { certificate, key } = await pairOf({ notAfter: YEAR_2200 });
    const { identity, authorities } = read({ authorities: file('CA', authority.cert), certificate, key });
    expect(identity?.notAfterMs).toBe(YEAR_2200.getTime());
    expect(String(authorities)).toBe(authority.cert);
  });

  it('accepts several authorities of which one has expired, as after its rotation', async () => {
    const expired = await authority.issue({ notBefore: YEAR_2001, notAfter: YEAR_2002 });
    const { authorities } = read({ authorities: file('CA', `${expired.cert}\n${authority.cert}`) });
    expect(String(authorities)).toContain(authority.cert);
  });

  it('refuses a certificate that has expired', async () => {
    const files = await pairOf({ notBefore: YEAR_2001, notAfter: YEAR_2002 });
    expect(() => read(files)).toThrow(
      `CERT: ${files.certificate.path} holds certificate 1 of 1, which expired at 2002-01-01T00:00:00.000Z; renew it`,
    );
  });

  it('refuses a chain in which the certificate behind the first has expired', async () => {
    const expired = await authority.issue({ notBefore: YEAR_2001, notAfter: YEAR_2002 });
    const { cert, key } = await authority.issue();
    const files = { certificate: file('CERT', `${cert}\n${expired.cert}`), key: file('KEY', key) };
    expect(() => read(files)).toThrow(/holds certificate 2 of 2, which expired at 2002/);
  });

  it('refuses a certificate that is not valid yet', async () => {
    const files = await pairOf({ notBefore: YEAR_2200, notAfter: new Date('2201-01-01') });
    expect(() => read(files)).toThrow(/^CERT: .* is valid only from 2200-01-01T00:00:00.000Z/);
  });

  it('refuses a key of another certificate', async () => {
    const [{ certificate }, { key }] = [await pairOf(), await pairOf()];
    expect(() => read({ certificate, key })).toThrow(
      `KEY: ${key.path} does not hold the key of the certificate in ${certificate.path} (CERT)`,
    );
  });

  it.each([
    ['CERT', 'CERT: is set without the file of its private key; set both, or neither'],
    ['KEY', 'KEY: is set without the file of its certificate; set both, or neither'],
  ])('refuses %s alone', async (given, message) => {
    const { certificate, key } = await pairOf();
    expect(() => read(given === 'CERT' ? { certificate } : { key })).toThrow(message);
  });

  it.each([
    ['no certificate', 'CERT', () => 'nothing'],
    ['a damaged certificate', 'CERT', () => '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
    ['no private key', 'KEY', () => 'nothing'],
    ['an encrypted key', 'KEY', encryptedKey],
  ])('refuses %s, and names its file', async (problem, field, content) => {
    const { certificate, key } = await pairOf();
    const broken = file(field, content());
    const files = field === 'CERT' ? { certificate: broken, key } : { certificate, key: broken };
    expect(() => read(files)).toThrow(`${field}: ${broken.path} holds ${problem}`);
  });

  it('refuses authorities that have all expired', async () => {
    const { cert } = await authority.issue({ notBefore: YEAR_2001, notAfter: YEAR_2002 });
    expect(() => read({ authorities: file('CA', cert) })).toThrow(
      /^CA: .* holds no authority that is valid now: expired at 2002/,
    );
  });

  it('never writes a key into an error', async () => {
    const { certificate } = await pairOf();
    const { key: secret } = await authority.issue();
    const failure = (() => {
      try {
        return read({ certificate, key: file('KEY', secret.replace('MI', '')) });
      } catch (error) {
        return error as Error;
      }
    })();
    expect(failure).toBeInstanceOf(Error);
    expect((failure as Error).message).not.toContain(secret.split('\n')[1]);
  });
});

function encryptedKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return String(privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' }));
}
