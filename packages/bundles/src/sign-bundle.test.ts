import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { copyTarget, TARGET } from './bundle-pieces.fixture.js';
import { type BundleTrust, followBundleTrust, requireTrust } from './bundle-trust.js';
import { signBundle } from './sign-bundle.js';
import { parseSignatureFile, SIGNATURE_FILE } from './signature-file.js';
import { type KeyPair, makeKeyPair } from './signing.fixture.js';
import { readPrivateKey } from './signing-keys.js';

const [key, other] = [makeKeyPair(), makeKeyPair()];
let dir: string;
let bundle: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-sign-'));
  bundle = join(dir, 'bundle');
  await cp(TARGET, bundle, { recursive: true });
});
afterEach(() => rm(dir, { recursive: true }));

/** Returns the trusted keys that signed the bundle. */
async function signers(...trusted: KeyPair[]): Promise<readonly string[]> {
  const path = join(dir, 'trusted.pem');
  await writeFile(path, trusted.map(({ publicPem }) => publicPem).join(''));
  const trust = followBundleTrust({ field: 'F', paths: path }) as BundleTrust;
  trust.close();
  return requireTrust(trust, bundle, await readFile(join(bundle, 'bundle.json')));
}

describe('signBundle', () => {
  it('adds a signature, and replaces one of the same key', async () => {
    expect(await signBundle(bundle, key.key)).toMatchObject({
      name: 'fixture-target',
      keyId: key.id,
      keyIds: [key.id],
    });
    expect(await signers(key)).toEqual([key.id]);
    expect(await signBundle(bundle, other.key)).toMatchObject({ keyIds: [key.id, other.id] });
    expect(await signBundle(bundle, key.key)).toMatchObject({ keyIds: [other.id, key.id] });
    expect(await signers(key, other)).toEqual([other.id, key.id]);
    const added = (await readdir(bundle)).filter((name) => name.startsWith('bundle.json'));
    expect(added).toEqual(['bundle.json', SIGNATURE_FILE]);
  });

  it('drops the signatures of another bundle.json', async () => {
    await signBundle(bundle, key.key);
    await copyTarget(bundle, 'renamed');
    expect(await signBundle(bundle, other.key)).toMatchObject({ name: 'renamed', keyIds: [other.id] });
  });

  it('signs no bundle whose files are damaged', async () => {
    await truncate(join(bundle, 'pool.bin'), 10);
    await expect(signBundle(bundle, key.key)).rejects.toMatchObject({ reason: 'bundle_invalid' });
    expect(await readdir(bundle)).not.toContain(SIGNATURE_FILE);
  });

  it.each([
    ['is damaged', (path: string) => writeFile(path, '{'), 'is not JSON'],
    ['is a link out of the folder', (path: string) => symlink('/etc/hostname', path), 'is a link out of the folder'],
    [
      'has 16 signatures',
      async (path: string) => {
        for (let i = 0; i < 16; i++) await signBundle(bundle, makeKeyPair().key);
        expect(parseSignatureFile(await readFile(path)).signatures).toHaveLength(16);
      },
      'has 16 signatures, at most 16 are allowed',
    ],
  ])('keeps a signature file that %s, and says what to do', async (_, prepare, problem) => {
    await prepare(join(bundle, SIGNATURE_FILE));
    const before = await readFile(join(bundle, SIGNATURE_FILE));
    await expect(signBundle(bundle, key.key)).rejects.toMatchObject({
      reason: 'bundle_untrusted',
      message: expect.stringMatching(`${problem}.*; remove the file, and sign again with every key that is in use`),
    });
    expect(await readFile(join(bundle, SIGNATURE_FILE))).toEqual(before);
  });
});

describe('readPrivateKey', () => {
  const encoding = { type: 'pkcs8', format: 'pem' } as const;
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
  const encrypted = key.key.export({ ...encoding, cipher: 'aes-256-cbc', passphrase: 'secret' });
  it.each([
    ['a public key', key.publicPem, /holds no private key; name a PEM file with one; make one with: openssl genpkey/],
    ['an RSA key', String(rsa.export(encoding)), /holds a key of type rsa; only ed25519 signs/],
    [
      'an encrypted key',
      String(encrypted),
      /holds an encrypted key; give it through a pipe: <\(openssl pkey -in KEY\)/,
    ],
    ['nothing', '', /holds no private key/],
  ])('refuses %s', async (_, content, message) => {
    const path = join(dir, 'key.pem');
    await writeFile(path, content);
    expect(() => readPrivateKey({ field: '--key', path })).toThrow(message);
    expect(() => readPrivateKey({ field: '--key', path })).toThrow(`--key: ${path} `);
  });

  it('reads the key, and refuses a file that is missing', async () => {
    const path = join(dir, 'key.pem');
    expect(() => readPrivateKey({ field: '--key', path })).toThrow(`--key: ${path} cannot be read (ENOENT)`);
    await writeFile(path, key.privatePem);
    expect(readPrivateKey({ field: '--key', path }).equals(key.key)).toBe(true);
  });

  it('reads the key from a pipe', async () => {
    const [path, pipe] = [join(dir, 'key.pem'), join(dir, 'pipe')];
    await writeFile(path, key.privatePem);
    execFileSync('mkfifo', [pipe]);
    const writer = spawn('cp', [path, pipe]);
    try {
      expect(readPrivateKey({ field: '--key', path: pipe }).equals(key.key)).toBe(true);
    } finally {
      writer.kill();
    }
  });

  it('says that a folder is none', () => {
    expect(() => readPrivateKey({ field: '--key', path: dir })).toThrow(`--key: ${dir} is a folder, not a file`);
  });
});
