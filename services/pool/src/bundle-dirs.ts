import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CkvError } from '@collectivekv/domain';

/**
 * Returns the bundle folders of a path: the path itself if it has a bundle.json, else its subfolders that have one.
 * @throws bundle_invalid if there is none
 */
export async function findBundleDirs(path: string): Promise<string[]> {
  if (await isBundle(path)) return [path];
  const bundles = await bundlesInside(path);
  if (bundles.length > 0) return bundles;
  throw new CkvError(
    'bundle_invalid',
    `CKV_BUNDLES_DIR: ${path} has no bundle; name a folder that contains a bundle.json`,
  );
}

/** Returns the bundle folders that {@link findBundleDirs} does not look at: those inside a bundle's own folder. */
export async function findIgnoredDirs(path: string): Promise<string[]> {
  return (await isBundle(path)) ? bundlesInside(path) : [];
}

async function bundlesInside(path: string): Promise<string[]> {
  const names = await readdir(path).catch(() => []);
  const dirs = names.sort().map((name) => join(path, name));
  const found = await Promise.all(dirs.map(isBundle));
  return dirs.filter((_, i) => found[i]);
}

async function isBundle(dir: string): Promise<boolean> {
  return (await stat(join(dir, 'bundle.json')).catch(() => undefined))?.isFile() ?? false;
}
