import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoadedBundle } from '@collectivekv/bundles';
import type { FetchBundleResponse } from '@collectivekv/contracts';
import { CkvError } from '@collectivekv/domain';

/** Largest chunk. */
export const CHUNK_BYTES = 256 * 1024;

/**
 * Streams a bundle's files in checksummed chunks, bundle.json first. An empty file is one empty chunk.
 * @throws bundle_invalid if a file has another size than the manifest says: it was changed after the pool started
 */
export async function* streamBundle(bundle: LoadedBundle, signal: AbortSignal): AsyncGenerator<FetchBundleResponse> {
  const files = [{ path: 'bundle.json', bytes: undefined }, ...bundle.model.manifest.files];
  for (const { path, bytes } of files) {
    const file = await open(join(bundle.dir, path), 'r').catch(() => {
      throw changed(path);
    });
    try {
      const { size } = await file.stat();
      if (bytes !== undefined && size !== bytes) throw changed(path);
      let offset = 0;
      do {
        if (signal.aborted) return;
        const { buffer, bytesRead } = await file.read(
          Buffer.alloc(Math.min(CHUNK_BYTES, size - offset)),
          0,
          undefined,
          offset,
        );
        if (bytesRead === 0 && size > 0) throw changed(path);
        const chunk = buffer.subarray(0, bytesRead);
        const last = offset + bytesRead >= size;
        yield { path, offset, chunk, sha256: createHash('sha256').update(chunk).digest(), last };
        offset += bytesRead;
      } while (offset < size);
    } finally {
      await file.close();
    }
  }
}

function changed(path: string): CkvError {
  return new CkvError('bundle_invalid', `${path} was changed after the pool started; restore it, or restart the pool`);
}
