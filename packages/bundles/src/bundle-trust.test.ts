import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileOutcome } from '@collectivekv/credentials';
import { bundleIdOf, CkvError } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TARGET } from './bundle-pieces.fixture.js';
import { type BundleTrust, followBundleTrust, type SignedManifest } from './bundle-trust.js';
import { type KeyPair, makeKeyPair } from './signing.fixture.js';

const MANIFEST = readFileSync(join(TARGET, 'bundle.json'));
const ID = bundleIdOf(MANIFEST);
const [key, other, stranger] = [makeKeyPair(), makeKeyPair(), makeKeyPair()];
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const RSA_PUBLIC = String(rsa.publicKey.export({ type: 'spki', format: 'pem' }));

let dir: string;
let path: string;
let trust: BundleTrust | undefined;
let outcomes: FileOutcome[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-trust-'));
  path = join(dir, 'trusted.pem');
  outcomes = [];
});
afterEach(() => {
  trust?.close();
  trust = undefined;
  rmSync(dir, { recursive: true });
});

/** Trusts the keys of files with these contents. */
function trusting(...contents: string[]): BundleTrust {
  const paths = contents.map((content, i) => {
    const file = i === 0 ? path : join(dir, `trusted-${i}.pem`);
    writeFileSync(file, content);
    return file;
  });
  const onOutcome = (outcome: FileOutcome) => outcomes.push(outcome);
  trust = followBundleTrust({ field: 'CKV_BUNDLE_TRUST', paths: paths.join(', '), onOutcome });
  if (!trust) throw new Error('no key is trusted');
  return trust;
}

/** Returns a signature file. */
function signatureFile(signers: readonly KeyPair[], manifestBytes = MANIFEST, bundleId = bundleIdOf(manifestBytes)) {
  const signatures = signers.map(({ id, key: privateKey }) => ({
    keyId: id,
    signature: sign(null, manifestBytes, privateKey).toString('base64'),
  }));
  return Buffer.from(JSON.stringify({ version: 1, bundleId, signatures }, null, 2));
}

const signed = (signatureBytes: Uint8Array | undefined, manifestBytes: Uint8Array = MANIFEST): SignedManifest => ({
  origin: 'in /b',
  manifestBytes,
  signatureBytes,
});
const flipped = (bytes: Uint8Array, at: number, bit: number) =>
  bytes.map((byte, i) => (i === at ? byte ^ (1 << bit) : byte));

/** Returns why a bundle is refused; empty if it is trusted. */
function refusal(used: BundleTrust, manifest: SignedManifest): string {
  try {
    used.check(manifest);
    return '';
  } catch (error) {
    if (error instanceof CkvError && error.reason === 'bundle_untrusted') return error.message;
    throw error;
  }
}

describe('a bundle.json', () => {
  it('is trusted if a trusted key signed it, and the answer has the keys', () => {
    const used = trusting(`a note\n${key.publicPem}`, other.publicPem);
    expect(used.check(signed(signatureFile([key])))).toEqual([key.id]);
    expect(used.check(signed(signatureFile([stranger, other, key])))).toEqual([other.id, key.id]);
  });

  it('is refused if a bit of it is flipped', () => {
    const used = trusting(key.publicPem);
    const file = JSON.parse(signatureFile([key]).toString());
    for (let at = 0; at < MANIFEST.length; at += 7) {
      const changed = flipped(MANIFEST, at, at % 8);
      expect(refusal(used, signed(signatureFile([key]), changed))).toContain(
        `has the signatures of bundle ${ID}; restore`,
      );
      const claimed = Buffer.from(JSON.stringify({ ...file, bundleId: bundleIdOf(changed) }));
      const message = `does not have the content that ${key.id} signed; restore bundle.json, or sign it again`;
      expect(refusal(used, signed(claimed, changed)), `byte ${at}`).toContain(message);
    }
  });

  it('is refused if any bit of its signature file is flipped', () => {
    const used = trusting(key.publicPem);
    const bytes = signatureFile([key]);
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = flipped(bytes, at, bit);
        if (JSON.stringify(parsed(changed)) === JSON.stringify(parsed(bytes))) continue; // other space between words
        expect(refusal(used, signed(changed)), `bit ${bit} of byte ${at}`).not.toBe('');
      }
    }
  });

  const another = Buffer.from(`${MANIFEST} `);
  it.each<[string, Buffer | undefined, string]>([
    ['it has no signature file', undefined, 'is not signed; sign it with "ckv bundle sign"'],
    ['its signature file is empty', Buffer.alloc(0), 'is not signed; sign it'],
    ['its signature file is not JSON', Buffer.from('x'), 'because its bundle.json.sig: is not JSON; sign it'],
    [
      'its signature file is too large',
      Buffer.alloc(16_385, ' '),
      'because its bundle.json.sig: has 16385 bytes, at most 16384 are allowed; sign it',
    ],
    [
      'its signature file has no signature',
      Buffer.from(JSON.stringify({ version: 1, bundleId: ID, signatures: [] })),
      'because its bundle.json.sig: has 1 problem: signatures: ',
    ],
    [
      'its signature is too short',
      Buffer.from(JSON.stringify({ version: 1, bundleId: ID, signatures: [{ keyId: key.id, signature: 'AAAA' }] })),
      'signatures.0.signature: must be 64 bytes as base64; sign it',
    ],
    [
      'its signatures are those of another bundle',
      signatureFile([key], another),
      `has the signatures of bundle ${bundleIdOf(another)}; restore bundle.json, or sign it again`,
    ],
    [
      'another bundle was signed under its id',
      signatureFile([key], another, ID),
      `does not have the content that ${key.id} signed; restore bundle.json, or sign it again`,
    ],
    [
      'only a stranger signed it',
      signatureFile([stranger]),
      `is signed by ${stranger.id}, but CKV_BUNDLE_TRUST has ${key.id}; sign it with "ckv bundle sign" and a trusted key`,
    ],
    [
      'a stranger signed it under the name of a trusted key',
      signatureFile([{ ...stranger, id: key.id }]),
      `does not have the content that ${key.id} signed`,
    ],
  ])('is refused if %s', (_, signatureBytes, problem) => {
    const message = refusal(trusting(key.publicPem), signed(signatureBytes));
    expect(message).toContain(problem);
    expect(message).toMatch(new RegExp(`^bundle ${ID} in /b `));
  });
});

describe('files of trusted keys', () => {
  const cut = key.publicPem.replace('-----END', '---END');
  it.each([
    ['that is empty', '', /holds no public key; name a PEM file with BEGIN PUBLIC KEY/],
    ['of garbage', '\u0000garbage', /holds no public key/],
    [
      'with a private key',
      key.privatePem,
      /holds a private key; write its public key there: openssl pkey -in KEY -pubout/,
    ],
    ['with a private key beside a public one', key.publicPem + other.privatePem, /holds a private key/],
    ['with an RSA key', RSA_PUBLIC, /holds a key of type rsa, number 1; only ed25519 signs/],
    ['with an RSA key beside another', key.publicPem + RSA_PUBLIC, /holds a key of type rsa, number 2/],
    ['with a key that is cut', other.publicPem + cut, /holds 2 PEM blocks, public keys among them: 1/],
    [
      'with a certificate',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      /public keys among them: 0/,
    ],
    ['with a damaged key', key.publicPem.replace(/\n./, '\n*'), /holds a damaged public key, number 1/],
  ])('do not include one %s, and its error repeats nothing of it', (_, content, message) => {
    let text = '';
    try {
      trusting(content);
    } catch (error) {
      text = (error as Error).message;
    }
    expect(text).toMatch(message);
    expect(text).toMatch(new RegExp(`^CKV_BUNDLE_TRUST: ${path} `));
    for (const line of content.split('\n').filter((one) => one.length > 20 && !one.startsWith('--'))) {
      expect(text).not.toContain(line);
    }
  });

  it('cannot be without a path, or unreadable', () => {
    expect(() => followBundleTrust({ field: 'F', paths: ',' })).toThrow('F: has an empty path; name PEM files');
    expect(() => followBundleTrust({ field: 'F', paths: path })).toThrow(`F: ${path} cannot be read (ENOENT)`);
    expect(followBundleTrust({ field: 'F', paths: '' })).toBeUndefined();
  });

  it('are read again: a key that is added is trusted, and one that is removed no longer', async () => {
    const used = trusting(key.publicPem);
    const bySecond = signed(signatureFile([other]));
    const byBoth = signed(signatureFile([key, other]));
    expect(refusal(used, bySecond)).not.toBe('');
    writeFileSync(path, key.publicPem + other.publicPem);
    await expect.poll(() => refusal(used, bySecond), { timeout: 20_000 }).toBe('');
    writeFileSync(path, other.publicPem);
    await expect.poll(() => refusal(used, signed(signatureFile([key]))), { timeout: 20_000 }).not.toBe('');
    expect(refusal(used, byBoth)).toBe('');
  });

  it.each([
    ['empty', ''],
    ['a private key', other.privatePem],
  ])('keep the former keys while the new content is %s', async (_, content) => {
    const used = trusting(key.publicPem);
    writeFileSync(path, content);
    await expect.poll(() => outcomes, { timeout: 20_000 }).toHaveLength(1);
    expect(outcomes[0]?.problem).toMatchObject({ reason: 'invalid_request', field: 'CKV_BUNDLE_TRUST' });
    expect(refusal(used, signed(signatureFile([key])))).toBe('');
    expect(refusal(used, signed(signatureFile([other])))).not.toBe('');
  });
});

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}
