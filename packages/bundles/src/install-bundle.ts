import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FetchBundleResponse__Output } from '@collectivekv/contracts';
import { bundleIdOf, CkvError, parseManifest } from '@collectivekv/domain';
import { fileError } from './file-error.js';
import { removeLeftBehind, temporaryFolder } from './temporary-folders.js';

/** Largest bundle.json, bytes. */
const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;

/**
 * Writes a streamed bundle into `cacheDir/<bundle id>`, completely or not at all: pieces go to a temporary folder, which
 * is renamed when the bundle is complete. Writes only files that the manifest lists, and no byte beyond their listed size.
 * Removes temporary folders that killed processes have left in `cacheDir`.
 * @returns the folder. If it exists already, no piece is read
 * @throws bundle_invalid if a piece breaks the format; overloaded if the disk is full; dependency_unavailable if
 * `cacheDir` cannot be written; the errors of `pieces`
 */
export async function installBundle(
  bundleId: string,
  cacheDir: string,
  pieces: () => AsyncIterable<FetchBundleResponse__Output>,
): Promise<string> {
  const target = join(cacheDir, bundleId);
  if (await isFolder(target)) return target;
  await removeLeftBehind(cacheDir);
  const partial = temporaryFolder(cacheDir, 'download');
  try {
    await mkdir(partial, { recursive: true });
    await writePieces(bundleId, partial, pieces());
    await rename(partial, target).catch(async (error) => {
      if (!(await isFolder(target))) throw error; // else another process that shares the folder was first
    });
    return target;
  } catch (error) {
    throw fileError(cacheDir, error);
  } finally {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined); // the folder itself may be unusable
  }
}

async function writePieces(
  bundleId: string,
  dir: string,
  pieces: AsyncIterable<FetchBundleResponse__Output>,
): Promise<void> {
  const manifestPieces: Buffer[] = [];
  let allowed: Map<string, number> | undefined; // path -> bytes, once the manifest is read
  let file: FileHandle | undefined;
  let expected = { path: 'bundle.json', offset: 0 };
  const missing = new Set<string>();
  try {
    for await (const { path, offset, chunk, sha256, last } of pieces) {
      if (!createHash('sha256').update(chunk).digest().equals(sha256))
        throw broken(`${path} at ${offset}: bad checksum`);
      if (expected.path === '') expected = { path, offset: 0 };
      if (path !== expected.path || offset !== expected.offset) throw broken(`${path} at ${offset}: out of order`);
      const limit = path === 'bundle.json' ? MAX_MANIFEST_BYTES : allowed?.get(path);
      if (limit === undefined || offset + chunk.length > limit) throw broken(`${path}: not in bundle.json or too long`);
      if (!file) {
        await mkdir(dirname(join(dir, path)), { recursive: true });
        file = await open(join(dir, path), 'wx');
      }
      await file.writeFile(chunk);
      if (path === 'bundle.json') manifestPieces.push(chunk);
      expected = { path, offset: offset + chunk.length };
      if (!last) continue;
      await file.sync();
      await file.close();
      file = undefined;
      missing.delete(path);
      expected = { path: '', offset: 0 };
      if (path !== 'bundle.json') continue;
      const bytes = Buffer.concat(manifestPieces);
      if (bundleIdOf(bytes) !== bundleId) throw broken(`bundle.json is not the one of bundle ${bundleId}`);
      allowed = new Map(parseManifest(bytes).files.map((entry) => [entry.path, entry.bytes]));
      for (const name of allowed.keys()) missing.add(name);
    }
  } finally {
    await file?.close();
  }
  if (!allowed || missing.size > 0) throw broken(`the stream ended before ${[...missing].join(', ') || 'bundle.json'}`);
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

function broken(problem: string): CkvError {
  return new CkvError('bundle_invalid', `fetching a bundle: ${problem}`);
}
