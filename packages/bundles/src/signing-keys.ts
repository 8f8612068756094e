import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { type NamedFile, readNamedFile } from '@collectivekv/credentials';
import { CkvError, counted } from '@collectivekv/domain';

const MAKE_PUBLIC = 'write its public key there: openssl pkey -in KEY -pubout';
const MAKE_KEY = 'make one with: openssl genpkey -algorithm ed25519';

/** Returns the id of a key: the first 16 hexadecimal characters of the sha256 of its public part, SPKI as DER. */
export function keyIdOf(key: KeyObject): string {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('hex').slice(0, 16);
}

/**
 * Returns the ed25519 public keys of a PEM file, at least one. Text between the keys is ignored.
 * @throws invalid_request that names the option or variable, the file and the remedy, and repeats nothing of the file
 */
export function publicKeysIn(file: NamedFile, pem: Buffer): KeyObject[] {
  const text = pem.toString('latin1');
  const labels = [...text.matchAll(/-----BEGIN ([^\n-]*)-----/g)].map(([, label = '']) => label);
  if (labels.some((label) => label.endsWith('PRIVATE KEY'))) throw wrong(file, 'holds a private key', MAKE_PUBLIC);
  const blocks = text.match(/-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----/g) ?? [];
  // A key with a damaged first or last line must not go unnoticed beside others.
  const ends = Math.max(countOf(text, '-----BEGIN'), countOf(text, '-----END'));
  if (ends === 0) throw wrong(file, 'holds no public key', 'name a PEM file with BEGIN PUBLIC KEY');
  if (blocks.length !== ends) {
    throw wrong(
      file,
      `holds ${counted(ends, 'PEM block')}, public keys among them: ${blocks.length}`,
      'keep only whole public keys',
    );
  }
  return blocks.map((block, i) => {
    const key = publicKeyFrom(file, block, i + 1);
    if (key.asymmetricKeyType === 'ed25519') return key;
    throw wrong(file, `holds a key of type ${key.asymmetricKeyType}, number ${i + 1}; only ed25519 signs`, MAKE_KEY);
  });
}

function publicKeyFrom(file: NamedFile, block: string, number: number): KeyObject {
  try {
    return createPublicKey(block);
  } catch (cause) {
    throw wrong(file, `holds a damaged public key, number ${number}`, 'write the file again', cause);
  }
}

/**
 * Reads an ed25519 private key from a PEM file or a pipe.
 * @throws invalid_request that names the option, the file and the remedy, and repeats nothing of the file
 */
export function readPrivateKey(file: NamedFile): KeyObject {
  const pem = readNamedFile(file, { mayBePipe: true });
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    if (/ENCRYPTED/.test(pem.toString('latin1'))) {
      throw wrong(file, 'holds an encrypted key', `give it through a pipe: <(openssl pkey -in KEY)`, cause);
    }
    throw wrong(file, 'holds no private key', `name a PEM file with one; ${MAKE_KEY}`, cause);
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw wrong(file, `holds a key of type ${key.asymmetricKeyType}; only ed25519 signs`, MAKE_KEY);
}

function countOf(text: string, part: string): number {
  return text.split(part).length - 1;
}

function wrong({ field, path }: NamedFile, problem: string, remedy: string, cause?: unknown): CkvError {
  return new CkvError('invalid_request', `${field}: ${path} ${problem}; ${remedy}`, { field, cause });
}
