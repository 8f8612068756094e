import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { invalidRequest } from '@collectivekv/domain';
import type { CaptureKey } from './capture-keys.js';

/** Begins every capture: a name and the version of this format. */
const MAGIC = Buffer.from('CKVCAPT\x01', 'latin1');
/** The byte behind the magic. */
const PLAIN = 0;
const SEALED = 1;
const CIPHER = 'aes-256-gcm';
const KEY_ID_BYTES = 8;
const NONCE_BYTES = 12;
const CHECK_BYTES = 16; // GCM's tag
const DIGEST_BYTES = 32; // sha256

/**
 * Returns the bytes of a capture's file:
 *
 *     magic[8] 1 keyId[8] nonce[12] ciphertext check[16]     with a key: AES-256-GCM over all that is before
 *     magic[8] 0 sha256[32] content                          without
 */
export function sealCapture(content: Uint8Array, key: CaptureKey | undefined): Buffer {
  if (!key) return Buffer.concat([MAGIC, Buffer.of(PLAIN), digestOf(content), content]);
  const head = Buffer.concat([MAGIC, Buffer.of(SEALED), key.id, randomBytes(NONCE_BYTES)]);
  const cipher = createCipheriv(CIPHER, key.sealing, head.subarray(-NONCE_BYTES), { authTagLength: CHECK_BYTES });
  cipher.setAAD(head);
  return Buffer.concat([head, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
}

/**
 * Returns the content of a capture's file.
 * @param path names the file in errors
 * @throws invalid_request if it is no capture, is damaged, or none of the keys opens it
 */
export function openCapture(path: string, bytes: Buffer, keys: readonly CaptureKey[]): Buffer {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw invalidRequest(path, 'is not a capture of this version', 'name a file that ranking wrote');
  }
  const kind = bytes[MAGIC.length];
  const body = bytes.subarray(MAGIC.length + 1);
  if (kind === PLAIN && body.length >= DIGEST_BYTES) {
    const content = body.subarray(DIGEST_BYTES);
    if (digestOf(content).equals(body.subarray(0, DIGEST_BYTES))) return content;
  }
  if (kind === SEALED && body.length >= KEY_ID_BYTES + NONCE_BYTES + CHECK_BYTES) return unseal(path, bytes, keys);
  throw damaged(path);
}

function unseal(path: string, bytes: Buffer, keys: readonly CaptureKey[]): Buffer {
  const nonceAt = MAGIC.length + 1 + KEY_ID_BYTES;
  const head = bytes.subarray(0, nonceAt + NONCE_BYTES);
  const keyId = bytes.subarray(MAGIC.length + 1, nonceAt);
  const key = keys.find(({ id }) => id.equals(keyId));
  if (!key) {
    const known = keys.map(({ id }) => id.toString('hex')).join(', ') || 'none';
    const problem = `is encrypted with key ${keyId.toString('hex')}, and the given keys are: ${known}`;
    throw invalidRequest(path, problem, 'name the key file that the ranking service had');
  }
  const decipher = createDecipheriv(CIPHER, key.sealing, head.subarray(nonceAt), { authTagLength: CHECK_BYTES });
  decipher.setAAD(head);
  decipher.setAuthTag(bytes.subarray(-CHECK_BYTES));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(head.length, -CHECK_BYTES)), decipher.final()]);
  } catch {
    throw damaged(path);
  }
}

function digestOf(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}

function damaged(path: string) {
  return invalidRequest(path, 'is damaged: its content does not match its check', 'take a copy that is whole');
}
