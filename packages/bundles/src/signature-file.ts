import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CkvError, counted } from '@collectivekv/domain';
import { z } from 'zod';
import { isMissing, readBundleFile } from './bundle-files.js';
import { fileError } from './file-error.js';

/** Name of the file that holds the signatures of bundle.json, beside it. */
export const SIGNATURE_FILE = 'bundle.json.sig';
/** Largest signature file, bytes. */
export const MAX_SIGNATURE_FILE_BYTES = 16 * 1024;
/** Most signatures of a bundle: a few keys in rotation. */
export const MAX_SIGNATURES = 16;

const hex16 = z.string().regex(/^[0-9a-f]{16}$/, 'must be 16 hexadecimal digits');
const signatureFileSchema = z.strictObject({
  version: z.literal(1),
  /** The bundle whose bundle.json was signed. */
  bundleId: hex16,
  signatures: z
    .array(z.strictObject({ keyId: hex16, signature: z.string().refine(isSignature, 'must be 64 bytes as base64') }))
    .min(1)
    .max(MAX_SIGNATURES),
});

/** The signatures of a bundle.json. docs/wire-format.md explains the parts. */
export type SignatureFile = z.infer<typeof signatureFileSchema>;

/**
 * Parses a signature file.
 * @throws bundle_untrusted with every problem, without the bundle's name
 */
export function parseSignatureFile(bytes: Uint8Array): SignatureFile {
  if (bytes.length > MAX_SIGNATURE_FILE_BYTES) {
    throw damaged(`has ${bytes.length} bytes, at most ${MAX_SIGNATURE_FILE_BYTES} are allowed`);
  }
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw damaged('is not JSON', cause);
  }
  const parsed = signatureFileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`);
  throw damaged(`has ${counted(problems.length, 'problem')}: ${problems.join(', ')}`, parsed.error);
}

/**
 * Reads the signature file of a bundle folder.
 * @returns its bytes; undefined if there is none
 * @throws bundle_untrusted if it cannot be read, is a link out of the folder, or is too large
 */
export async function readSignatureFile(dir: string): Promise<Buffer | undefined> {
  try {
    return await readBundleFile(dir, SIGNATURE_FILE, MAX_SIGNATURE_FILE_BYTES);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new CkvError('bundle_untrusted', (error as Error).message, { cause: error });
  }
}

/**
 * Writes the signature file of a bundle folder, completely or not at all.
 * @throws overloaded if the disk is full; dependency_unavailable if the folder cannot be written
 */
export async function writeSignatureFile(dir: string, bytes: Uint8Array): Promise<void> {
  const temporary = join(dir, `${SIGNATURE_FILE}.${randomUUID()}`);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, join(dir, SIGNATURE_FILE));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the folder itself may be unusable
    throw fileError(dir, error);
  }
}

/** True for the one way to write 64 bytes as base64. */
function isSignature(text: string): boolean {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === 64 && bytes.toString('base64') === text;
}

function damaged(problem: string, cause?: unknown): CkvError {
  return new CkvError('bundle_untrusted', `${SIGNATURE_FILE}: ${problem}`, { cause });
}
