import { type KeyObject, sign } from 'node:crypto';
import { CkvError, toCkvError } from '@collectivekv/domain';
import { openBundle } from './open-bundle.js';
import {
  MAX_SIGNATURES,
  parseSignatureFile,
  readSignatureFile,
  SIGNATURE_FILE,
  type SignatureFile,
  writeSignatureFile,
} from './signature-file.js';
import { keyIdOf } from './signing-keys.js';

/** What {@link signBundle} wrote. */
export interface SignedBundle {
  readonly bundleId: string;
  readonly name: string;
  readonly keyId: string;
  /** The keys of all signatures that the bundle has now. */
  readonly keyIds: readonly string[];
}

/**
 * Checks every file of a bundle folder, and adds a signature of its bundle.json. Signatures of other keys stay, if they
 * are of the same bundle.json.
 * @param key an ed25519 private key
 * @throws bundle_invalid; bundle_untrusted if the signatures that are there cannot be read or are too many; the errors
 * of {@link writeSignatureFile}
 */
export async function signBundle(dir: string, key: KeyObject): Promise<SignedBundle> {
  const { model, manifestBytes } = await openBundle(dir);
  const keyId = keyIdOf(key);
  const others = (await signaturesIn(dir, model.id)).filter((one) => one.keyId !== keyId);
  if (others.length >= MAX_SIGNATURES) {
    const problem = `${SIGNATURE_FILE} has ${others.length} signatures, at most ${MAX_SIGNATURES} are allowed`;
    throw unusable(dir, problem);
  }
  const signatures = [...others, { keyId, signature: sign(null, manifestBytes, key).toString('base64') }];
  const file: SignatureFile = { version: 1, bundleId: model.id, signatures };
  await writeSignatureFile(dir, Buffer.from(`${JSON.stringify(file, null, 2)}\n`));
  const keyIds = signatures.map((one) => one.keyId);
  return { bundleId: model.id, name: model.manifest.name, keyId, keyIds };
}

/** Returns the signatures of a folder that belong to the bundle. */
async function signaturesIn(dir: string, wantedId: string): Promise<SignatureFile['signatures']> {
  try {
    const bytes = await readSignatureFile(dir);
    if (bytes === undefined) return [];
    const { bundleId, signatures } = parseSignatureFile(bytes);
    return bundleId === wantedId ? signatures : [];
  } catch (error) {
    throw unusable(dir, toCkvError(error).message);
  }
}

function unusable(dir: string, problem: string): CkvError {
  const remedy = 'remove the file, and sign again with every key that is in use';
  return new CkvError('bundle_untrusted', `${dir}: ${problem}; ${remedy}`);
}
