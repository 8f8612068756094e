import { constants, copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CkvError, type Manifest, parseManifest } from '@collectivekv/domain';
import { type BundleTrust, requireTrust } from './bundle-trust.js';
import { fileError } from './file-error.js';
import { type OpenBundle, openFiles, readManifestBytes, requireFiles, withListedFile } from './open-bundle.js';
import { removeLeftBehind, temporaryFolder } from './temporary-folders.js';

/** A bundle that was opened from files that no other process knows. */
export interface PrivateCopy {
  readonly bundle: OpenBundle;
  /** Removes the files. What has mapped them into memory keeps their content. */
  remove(): Promise<void>;
}

/**
 * Copies a bundle into a new folder, and opens the copy. onnxruntime maps the weights of a graph into memory. If the
 * mapped file is made shorter later, the next access ends the process by SIGBUS. A removed file cannot be made shorter.
 * The copy has only files that the manifest lists, and graphs can name no file outside of their folder. So if a trusted
 * key signed the manifest, every byte that is used was signed. Removes copies in `parent` that killed processes have
 * left there.
 * @param parent the folder for the copy; it is created
 * @param trust checks the signatures before any file is copied. Undefined trusts every bundle
 * @throws bundle_untrusted; bundle_invalid, which names the folder `dir`; overloaded if the disk is full;
 * dependency_unavailable if `parent` cannot be written
 */
export async function openPrivateCopy(dir: string, parent: string, trust?: BundleTrust): Promise<PrivateCopy> {
  const manifestBytes = await readManifestBytes(dir);
  if (trust) await requireTrust(trust, dir, manifestBytes);
  const manifest = parseManifest(manifestBytes);
  await removeLeftBehind(parent);
  const copy = temporaryFolder(parent, 'private');
  const remove = () => rm(copy, { recursive: true, force: true });
  try {
    await copyFiles(dir, manifest, copy);
    await writeFile(join(copy, 'bundle.json'), manifestBytes);
  } catch (error) {
    await remove().catch(() => undefined); // the folder itself may be unusable
    if (error instanceof CkvError) await requireFiles(dir, manifest, dir); // lists all problems
    throw fileError(parent, error);
  }
  try {
    return { bundle: await openFiles(copy, manifestBytes, dir), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function copyFiles(dir: string, { files }: Manifest, copy: string): Promise<void> {
  await mkdir(copy, { recursive: true });
  for (const listed of files) {
    const target = join(copy, listed.path);
    await mkdir(dirname(target), { recursive: true });
    await withListedFile(dir, listed, ({ path }) => copyFile(path, target, constants.COPYFILE_FICLONE));
  }
}
