import { createHash, createHmac, hkdfSync } from 'node:crypto';
import { type FileOutcome, type Followed, followFiles, type NamedFile } from '@collectivekv/credentials';
import { CkvError } from '@collectivekv/domain';

/** A key of captures. */
export interface CaptureKey {
  /** Names the key in a capture: 8 bytes of a digest. */
  readonly id: Buffer;
  /** Encrypts captures: AES-256. */
  readonly sealing: Buffer;
  /** Makes the tags of users. */
  readonly tagging: Buffer;
}

/** Bytes of a key in its file. */
const KEY_BYTES = 32;
/** Most keys of a file. */
const MAX_KEYS = 8;
const TAG_LENGTH = 16;

/**
 * Reads the keys of captures, and follows the changes of their file. The first key encrypts. The others open captures
 * of before, and find those of a user.
 * @throws invalid_request if the file is unreadable or holds anything but keys
 */
export function followCaptureKeys(
  file: NamedFile,
  onOutcome?: (outcome: FileOutcome) => void,
): Followed<readonly CaptureKey[]> {
  return followFiles({ files: [file], onOutcome, parse: ([content]) => captureKeysIn(file, content) });
}

/**
 * Returns the keys of a file: one a line, each of 64 hexadecimal characters. Lines that begin with # are skipped.
 * @throws invalid_request without any part of a key
 */
export function captureKeysIn({ field, path }: NamedFile, content: Buffer | undefined): readonly CaptureKey[] {
  const wrong = (problem: string) =>
    new CkvError('invalid_request', `${field}: ${path} ${problem}; make a key with "openssl rand -hex 32"`, { field });
  const lines = (content?.toString('latin1') ?? '').split(/\r?\n/).map((line) => line.trim());
  const keys = lines.flatMap((line, i) => {
    if (line === '' || line.startsWith('#')) return [];
    if (/^[0-9a-fA-F]{64}$/.test(line)) return [keyOf(Buffer.from(line, 'hex'))];
    throw wrong(`has no key of 64 hexadecimal characters in line ${i + 1}`);
  });
  if (keys.length === 0) throw wrong('holds no key');
  if (keys.length > MAX_KEYS) throw wrong(`holds ${keys.length} keys, at most ${MAX_KEYS} are allowed`);
  return keys;
}

/**
 * Returns the text that stands for a user in the names of captures. Without the key, nobody can tell whose it is.
 * @param key undefined for captures that are not encrypted: these have the user's id inside
 */
export function userTag(key: CaptureKey | undefined, userId: string): string {
  const digest = key ? createHmac('sha256', key.tagging) : createHash('sha256');
  return digest.update(userId).digest('hex').slice(0, TAG_LENGTH);
}

function keyOf(secret: Buffer): CaptureKey {
  const derive = (purpose: string, length: number) =>
    Buffer.from(hkdfSync('sha256', secret, '', `collectivekv capture ${purpose}`, length));
  return { id: derive('id', 8), sealing: derive('sealing', KEY_BYTES), tagging: derive('tagging', KEY_BYTES) };
}
