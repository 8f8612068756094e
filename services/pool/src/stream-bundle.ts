import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoadedBundle } from '@collectivekv/bundles';
import type { FetchBundleResponse } from '@collectivekv/contracts';

/** Largest chunk. */
export const CHUNK_BYTES = 256 * 1024;

/** Streams a bundle's files in checksummed chunks, bundle.json first. An empty file is one empty chunk. */
export async function* streamBundle(bundle: LoadedBundle, signal: AbortSignal): AsyncGenerator<FetchBundleResponse> {
  const paths = ['bundle.json', ...bundle.model.manifest.files.map((file) => file.path)];
  for (const path of paths) {
    const file = await open(join(bundle.dir, path), 'r');
    try {
      const { size } = await file.stat();
      let offset = 0;
      do {
        if (signal.aborted) return;
        const { buffer, bytesRead } = await file.read(
          Buffer.alloc(Math.min(CHUNK_BYTES, size - offset)),
          0,
          undefined,
          offset,
        );
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
