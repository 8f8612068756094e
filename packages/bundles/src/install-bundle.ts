import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FetchBundleResponse__Output } from '@collectivekv/contracts';
import { bundleIdOf, CkvError, parseManifest } from '@collectivekv/domain';
import { type BundleTrust, requireTrust } from './bundle-trust.js';
import { fileError } from './file-error.js';
import { MAX_MANIFEST_BYTES, readManifestBytes } from './open-bundle.js';
import { MAX_SIGNATURE_FILE_BYTES, SIGNATURE_FILE, writeSignatureFile } from './signature-file.js';
import { removeLeftBehind, temporaryFolder } from './temporary-folders.js';

/** Options of {@link installBundle}. */
export interface InstallOptions {
  readonly bundleId: string;
  /** Folder of the bundles' folders. */
  readonly cacheDir: string;
  /** Fetches the bundle. Undefined: nobody can send it. */
  readonly fetch: (() => AsyncIterable<FetchBundleResponse__Output>) | undefined;
  /** Checks the signatures before more than bundle.json is fetched. Undefined trusts every bundle. */
  readonly trust: BundleTrust | undefined;
}

/**
 * Writes a streamed bundle into `cacheDir/<bundle id>`, completely or not at all: pieces go to a temporary folder,
 * which is renamed when the bundle is complete. Writes only files that the manifest lists, and no byte beyond their
 * listed size. Removes temporary folders that killed processes have left in `cacheDir`.
 * If the bundle is there already, fetches only its signatures, and only if they are not trusted: it may have been
 * signed again. Removes a folder of that name that holds another bundle.
 * @returns the folder
 * @throws bundle_not_loaded if nobody can send the bundle; bundle_untrusted; bundle_invalid if a piece breaks the
 * format. If `cacheDir` cannot be written: overloaded for a full disk, otherwise dependency_unavailable. The errors of
 * `fetch`
 */
export async function installBundle(options: InstallOptions): Promise<string> {
  const { bundleId, cacheDir, fetch } = options;
  const target = join(cacheDir, bundleId);
  const manifestBytes = await readManifestBytes(target).catch(() => undefined);
  if (manifestBytes && bundleIdOf(manifestBytes) === bundleId) {
    await renewSignatures(target, manifestBytes, options);
    return target;
  }
  if (!fetch) throw new CkvError('bundle_not_loaded', `bundle ${bundleId} is not in ${cacheDir}`);
  await removeLeftBehind(cacheDir);
  const partial = temporaryFolder(cacheDir, 'download');
  try {
    await rm(target, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    await writePieces(options, partial, fetch());
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

/** Fetches the signatures of an installed bundle, if no trusted key has made those that it has. */
async function renewSignatures(target: string, manifestBytes: Buffer, { fetch, trust }: InstallOptions): Promise<void> {
  if (!trust || !fetch) return;
  const signers = await requireTrust(trust, target, manifestBytes).catch(() => undefined);
  if (signers) return;
  for await (const { signatures } of fetch()) {
    trust.check({ origin: 'of the pool', manifestBytes, signatureBytes: bounded(signatures) });
    await writeSignatureFile(target, signatures);
    return; // the first piece has them
  }
}

async function writePieces(
  { bundleId, trust }: InstallOptions,
  dir: string,
  pieces: AsyncIterable<FetchBundleResponse__Output>,
): Promise<void> {
  const manifestPieces: Buffer[] = [];
  let allowed: Map<string, number> | undefined; // path -> bytes, once the manifest is read
  let file: FileHandle | undefined;
  let expected = { path: 'bundle.json', offset: 0 };
  const missing = new Set<string>();
  let signatureBytes: Buffer | undefined;
  try {
    for await (const { path, offset, chunk, sha256, last, signatures } of pieces) {
      signatureBytes ??= bounded(signatures);
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
      trust?.check({ origin: 'of the pool', manifestBytes: bytes, signatureBytes });
      if (signatureBytes.length > 0) await writeFile(join(dir, SIGNATURE_FILE), signatureBytes, { flush: true });
      allowed = new Map(parseManifest(bytes).files.map((entry) => [entry.path, entry.bytes]));
      for (const name of allowed.keys()) missing.add(name);
    }
  } finally {
    await file?.close();
  }
  if (!allowed || missing.size > 0) throw broken(`the stream ended before ${[...missing].join(', ') || 'bundle.json'}`);
}

function bounded(signatures: Buffer): Buffer {
  if (signatures.length <= MAX_SIGNATURE_FILE_BYTES) return signatures;
  throw broken(`signatures: ${signatures.length} bytes, at most ${MAX_SIGNATURE_FILE_BYTES} are allowed`);
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

function broken(problem: string): CkvError {
  return new CkvError('bundle_invalid', `fetching a bundle: ${problem}`);
}
