import { createHash } from 'node:crypto';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FetchBundleResponse__Output } from '@collectivekv/contracts';
import { bundleIdOf } from '@collectivekv/domain';
import { openBundle } from './open-bundle.js';
import { readSignatureFile } from './signature-file.js';

/** A small bundle: target attention over a pool of keys and values. */
export const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));

/** Most bytes of a piece: some files take several pieces. */
export const PIECE_BYTES = 20_000;

/** Yields a bundle's files in pieces, as a pool streams them. */
export async function* piecesOf(bundleDir: string): AsyncGenerator<FetchBundleResponse__Output> {
  let signatures = (await readSignatureFile(bundleDir)) ?? Buffer.alloc(0);
  const { files } = (await openBundle(bundleDir)).model.manifest;
  for (const path of ['bundle.json', ...files.map((file) => file.path)]) {
    const bytes = await readFile(join(bundleDir, path));
    for (let offset = 0; offset < bytes.length; offset += PIECE_BYTES) {
      const chunk = bytes.subarray(offset, offset + PIECE_BYTES);
      const sha256 = createHash('sha256').update(chunk).digest();
      yield { path, offset, chunk, sha256, last: offset + chunk.length >= bytes.length, signatures };
      signatures = Buffer.alloc(0);
    }
  }
}

/** Copies this bundle under another name, which gives the copy an id of its own. Returns the id. */
export async function copyTarget(to: string, name: string): Promise<string> {
  await cp(TARGET, to, { recursive: true });
  const manifest = JSON.parse(await readFile(join(to, 'bundle.json'), 'utf8'));
  const bytes = Buffer.from(JSON.stringify({ ...manifest, name }));
  await writeFile(join(to, 'bundle.json'), bytes);
  return bundleIdOf(bytes);
}
