import { createHash } from 'node:crypto';
import { type LoadedBundle, openBundleFile, parseSignatureFile, readSignatureFile } from '@collectivekv/bundles';
import type { FetchBundleResponse } from '@collectivekv/contracts';
import { CkvError } from '@collectivekv/domain';

/** Largest chunk. */
export const CHUNK_BYTES = 256 * 1024;

/**
 * Streams a bundle's files in checksummed chunks, bundle.json first. An empty file is one empty chunk. The first chunk
 * has the signatures that the folder has now: the bundle may have been signed again after it was loaded.
 * @throws bundle_invalid if a file has another size than the manifest says: it was changed after the pool started
 */
export async function* streamBundle(bundle: LoadedBundle, signal: AbortSignal): AsyncGenerator<FetchBundleResponse> {
  const { dir, model, manifestBytes } = bundle;
  let signatures = await signaturesIn(dir);
  const readManifest = async (offset: number) => manifestBytes.subarray(offset, offset + CHUNK_BYTES);
  for await (const piece of piecesOf('bundle.json', manifestBytes.length, readManifest)) {
    if (signal.aborted) return;
    yield { ...piece, signatures };
    signatures = Buffer.alloc(0);
  }
  for (const { path, bytes } of model.manifest.files) {
    const { handle, bytes: found } = await openBundleFile(dir, path).catch(() => {
      throw changed(path);
    });
    try {
      if (found !== bytes) throw changed(path);
      const readFile = async (offset: number) => {
        const length = Math.min(CHUNK_BYTES, bytes - offset);
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      };
      for await (const piece of piecesOf(path, bytes, readFile)) {
        if (signal.aborted) return;
        yield piece;
      }
    } finally {
      await handle.close();
    }
  }
}

/** Yields a file in pieces. `read` returns the bytes at an offset, at most {@link CHUNK_BYTES}. */
async function* piecesOf(
  path: string,
  bytes: number,
  read: (offset: number) => Promise<Buffer>,
): AsyncGenerator<FetchBundleResponse> {
  let offset = 0;
  do {
    const chunk = await read(offset);
    if (chunk.length === 0 && bytes > 0) throw changed(path);
    const last = offset + chunk.length >= bytes;
    yield { path, offset, chunk, sha256: createHash('sha256').update(chunk).digest(), last };
    offset += chunk.length;
  } while (offset < bytes);
}

/** Returns the signature file of a folder. Empty if there is none, or something else is in its place. */
async function signaturesIn(dir: string): Promise<Buffer> {
  try {
    const bytes = (await readSignatureFile(dir)) ?? Buffer.alloc(0);
    if (bytes.length > 0) parseSignatureFile(bytes);
    return bytes;
  } catch {
    return Buffer.alloc(0); // followers that check signatures refuse the bundle
  }
}

function changed(path: string): CkvError {
  return new CkvError('bundle_invalid', `${path} was changed after the pool started; restore it, or restart the pool`);
}
