import { type KeyObject, verify } from 'node:crypto';
import { type FileOutcome, followFiles } from '@collectivekv/credentials';
import { bundleIdOf, CkvError, invalidRequest, toCkvError } from '@collectivekv/domain';
import { parseSignatureFile, readSignatureFile, type SignatureFile } from './signature-file.js';
import { keyIdOf, publicKeysIn } from './signing-keys.js';

/** A bundle.json with its signatures, byte for byte. */
export interface SignedManifest {
  /** Where both come from, for errors: `in /bundles/demo`. */
  readonly origin: string;
  readonly manifestBytes: Uint8Array;
  /** The signature file. Undefined or empty if there is none. */
  readonly signatureBytes: Uint8Array | undefined;
}

/** The keys whose owners may sign bundles. */
export interface BundleTrust {
  /**
   * Checks that a trusted key signed a bundle.json.
   * @returns the ids of the trusted keys that signed it
   * @throws bundle_untrusted, which names the bundle, the reason and the remedy
   */
  check(signed: SignedManifest): readonly string[];
  /** Ends the looks at the files. */
  close(): void;
}

/** Options of {@link followBundleTrust}. */
export interface TrustOptions {
  /** The option or variable that names the files, for errors. */
  readonly field: string;
  /** Paths of PEM files with public keys, with commas between them. Empty: bundles need no signature. */
  readonly paths: string;
  /** Called when new content is in use, and once for each problem with new content. */
  readonly onOutcome?: ((outcome: FileOutcome) => void) | undefined;
}

const SIGN = 'sign it with "ckv bundle sign"';
const MEND = 'restore bundle.json, or sign it again with "ckv bundle sign"';

/**
 * Reads the trusted keys, and follows the changes of their files. If new content cannot be used, the former keys stay
 * trusted.
 * @returns undefined without paths: every bundle is trusted then
 * @throws invalid_request if a path is empty, or a file is unreadable or holds anything but ed25519 public keys
 */
export function followBundleTrust({ field, paths, onOutcome }: TrustOptions): BundleTrust | undefined {
  if (paths === '') return undefined;
  const files = paths.split(',').map((path) => ({ field, path: path.trim() }));
  if (files.some(({ path }) => path === '')) {
    throw invalidRequest(field, 'has an empty path', 'name PEM files with public keys, with commas between them');
  }
  const keys = followFiles({
    files,
    onOutcome,
    parse: (contents) => {
      const all = files.flatMap((file, i) => publicKeysIn(file, contents[i] ?? Buffer.alloc(0)));
      return new Map(all.map((key) => [keyIdOf(key), key]));
    },
  });
  return { check: (signed) => signersOf(signed, keys.current, field), close: keys.close };
}

/**
 * Checks that a trusted key signed the manifest of a bundle folder, by the signature file of the folder.
 * @returns the ids of the trusted keys that signed it
 * @throws bundle_untrusted
 */
export async function requireTrust(
  trust: BundleTrust,
  dir: string,
  manifestBytes: Uint8Array,
): Promise<readonly string[]> {
  const origin = `in ${dir}`;
  const signatureBytes = await readSignatureFile(dir).catch((error) => {
    throw refusal({ origin, manifestBytes }, `is not signed, because its ${toCkvError(error).message}`, SIGN);
  });
  return trust.check({ origin, manifestBytes, signatureBytes });
}

/** Follows the trusted keys that a service's configuration names, as {@link followBundleTrust} does. */
export function bundleTrustFrom(
  config: { readonly CKV_BUNDLE_TRUST: string },
  onOutcome: (outcome: FileOutcome) => void,
): BundleTrust | undefined {
  return followBundleTrust({ field: 'CKV_BUNDLE_TRUST', paths: config.CKV_BUNDLE_TRUST, onOutcome });
}

function signersOf(signed: SignedManifest, trusted: ReadonlyMap<string, KeyObject>, field: string): string[] {
  const { manifestBytes } = signed;
  const { bundleId, signatures } = readSignatures(signed);
  if (bundleId !== bundleIdOf(manifestBytes)) {
    throw refusal(signed, `has the signatures of bundle ${bundleId}`, MEND);
  }
  const ofTrusted = signatures.filter(({ keyId }) => trusted.has(keyId));
  if (ofTrusted.length === 0) {
    const problem = `is signed by ${idsOf(signatures)}, but ${field} has ${[...trusted.keys()].join(', ')}`;
    throw refusal(signed, problem, `${SIGN} and a trusted key`);
  }
  const signers = ofTrusted.filter(({ keyId, signature }) => {
    const key = trusted.get(keyId);
    return key !== undefined && verify(null, manifestBytes, key, Buffer.from(signature, 'base64'));
  });
  if (signers.length > 0) return signers.map(({ keyId }) => keyId);
  throw refusal(signed, `does not have the content that ${idsOf(ofTrusted)} signed`, MEND);
}

function readSignatures(signed: SignedManifest): SignatureFile {
  if (!signed.signatureBytes?.length) throw refusal(signed, 'is not signed', SIGN);
  try {
    return parseSignatureFile(signed.signatureBytes);
  } catch (error) {
    throw refusal(signed, `is not signed, because its ${toCkvError(error).message}`, SIGN);
  }
}

function idsOf(signatures: SignatureFile['signatures']): string {
  return signatures.map(({ keyId }) => keyId).join(', ');
}

function refusal(
  { origin, manifestBytes }: Pick<SignedManifest, 'origin' | 'manifestBytes'>,
  problem: string,
  remedy: string,
): CkvError {
  return new CkvError('bundle_untrusted', `bundle ${bundleIdOf(manifestBytes)} ${origin} ${problem}; ${remedy}`);
}
