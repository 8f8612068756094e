import { access, constants, copyFile, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CkvError } from '@collectivekv/domain';
import { fileError } from './file-error.js';
import { type OpenBundle, openBundle, readManifest } from './open-bundle.js';
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
 * Removes copies in `parent` that killed processes have left there.
 * @param parent the folder for the copy; it is created
 * @throws bundle_invalid, which names the folder `dir`; overloaded if the disk is full; dependency_unavailable if
 * `parent` cannot be written
 */
export async function openPrivateCopy(dir: string, parent: string): Promise<PrivateCopy> {
  const { files } = (await readManifest(dir)).manifest;
  await removeLeftBehind(parent);
  const copy = temporaryFolder(parent, 'private');
  const remove = () => rm(copy, { recursive: true, force: true });
  try {
    for (const { path } of [{ path: 'bundle.json' }, ...files]) {
      await mkdir(dirname(join(copy, path)), { recursive: true });
      if (!(await isReadable(dir, path))) continue; // openBundle lists the missing files together with other problems
      await copyFile(join(dir, path), join(copy, path), constants.COPYFILE_FICLONE);
    }
  } catch (error) {
    await remove().catch(() => undefined); // the folder itself may be unusable
    throw fileError(parent, error);
  }
  try {
    return { bundle: await openBundle(copy, dir), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** True if a file of the bundle can be read, false if it is missing. */
async function isReadable(dir: string, path: string): Promise<boolean> {
  try {
    await access(join(dir, path), constants.R_OK);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    throw new CkvError('bundle_invalid', `${dir}: ${path} cannot be read (${code}); let this user read it`);
  }
}
