import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type BundleModel, CkvError, createBundleModel, type Manifest, parseManifest } from '@collectivekv/domain';
import { z } from 'zod';

/** A bundle on disk whose files match its manifest. */
export interface OpenBundle {
  readonly dir: string;
  readonly model: BundleModel;
}

const itemsSchema = z.object({ ids: z.array(z.string()) });

/**
 * Reads the manifest of a bundle folder.
 * @param name of the folder, for errors
 * @throws bundle_invalid
 */
export async function readManifest(
  dir: string,
  name = dir,
): Promise<{ readonly manifestBytes: Buffer; readonly manifest: Manifest }> {
  const manifestBytes = await readFile(join(dir, 'bundle.json')).catch((cause: NodeJS.ErrnoException) => {
    const problem = `${name}: bundle.json cannot be read (${cause.code}); name a bundle folder`;
    throw new CkvError('bundle_invalid', problem, { cause });
  });
  return { manifestBytes, manifest: parseManifest(manifestBytes) };
}

/**
 * Opens a bundle folder: reads the manifest, checks the size and sha256 of every file, reads the catalogue
 * and the cluster maps.
 * @param name of the folder, for errors
 * @throws bundle_invalid listing every problem found
 */
export async function openBundle(dir: string, name = dir): Promise<OpenBundle> {
  const { manifestBytes, manifest } = await readManifest(dir, name);
  const problems = (await Promise.all(manifest.files.map((file) => fileProblem(dir, file)))).filter((p) => p !== '');
  if (problems.length > 0) {
    throw new CkvError(
      'bundle_invalid',
      `${name} has ${problems.length} problem(s): ${problems.join('; ')}; copy or export the bundle again`,
    );
  }
  const itemIds = await readItems(join(dir, manifest.items.file));
  return {
    dir,
    model: createBundleModel({ manifestBytes, itemIds, clusterMaps: await readClusterMaps(dir, manifest) }),
  };
}

async function fileProblem(dir: string, file: { path: string; bytes: number; sha256: string }): Promise<string> {
  const path = join(dir, file.path);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) return `${file.path}: is missing`;
  if (found.size !== file.bytes) return `${file.path}: has ${found.size} bytes, bundle.json says ${file.bytes}`;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex') === file.sha256 ? '' : `${file.path}: its sha256 differs from the one in bundle.json`;
}

async function readClusterMaps(dir: string, { clusterings = [] }: Manifest): Promise<Map<string, Uint8Array>> {
  const paths = new Set(clusterings.flatMap(({ by }) => by.flatMap(({ map }) => map ?? [])));
  return new Map(await Promise.all([...paths].map(async (path) => [path, await readFile(join(dir, path))] as const)));
}

async function readItems(path: string): Promise<string[]> {
  try {
    return itemsSchema.parse(JSON.parse(await readFile(path, 'utf8'))).ids;
  } catch (cause) {
    throw new CkvError(
      'bundle_invalid',
      'items: the file has no list of strings under "ids"; export the bundle again',
      { cause },
    );
  }
}
