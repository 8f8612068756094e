import { access, constants, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Returns the first of the paths that is an executable file; undefined if none is. */
export async function firstExecutable(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return path;
  }
  return undefined;
}

/**
 * Returns the variables with which a program of unpacked packages finds its libraries.
 * @param root what {@link fetchPackages} returned
 */
export async function libraryVariables(root: string): Promise<{ LD_LIBRARY_PATH: string }> {
  const folders = [join(root, 'usr', 'lib'), join(root, 'lib')];
  const inside = (await Promise.all(folders.map(subfolders))).flat();
  const deeper = (await Promise.all(inside.map(subfolders))).flat(); // such as usr/lib/<machine>/pulseaudio
  return { LD_LIBRARY_PATH: [...inside, ...deeper, ...folders].join(':') };
}

async function subfolders(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
}
