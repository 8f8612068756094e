import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BundleModel,
  CkvError,
  counted,
  createBundleModel,
  type Manifest,
  parseManifest,
  toCkvError,
} from '@collectivekv/domain';
import { z } from 'zod';
import { type BundleFile, readBundleFile, withBundleFile } from './bundle-files.js';

/** A bundle on disk whose files match its manifest. */
export interface OpenBundle {
  readonly dir: string;
  readonly model: BundleModel;
  /** The file bundle.json, byte for byte. */
  readonly manifestBytes: Buffer;
}

/** Largest bundle.json, bytes. */
export const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;

const itemsSchema = z.object({ ids: z.array(z.string()) });

/**
 * Reads bundle.json of a bundle folder, and does not look into it.
 * @throws bundle_invalid
 */
export async function readManifestBytes(dir: string): Promise<Buffer> {
  try {
    return await readBundleFile(dir, 'bundle.json', MAX_MANIFEST_BYTES);
  } catch (cause) {
    const problem = `${dir}: ${toCkvError(cause).message}; name a bundle folder`;
    throw new CkvError('bundle_invalid', problem, { cause });
  }
}

/**
 * Opens a bundle folder: reads the manifest, checks the size and sha256 of every file, reads the catalogue,
 * the cluster maps and the counts of training.
 * @throws bundle_invalid listing every problem found
 */
export async function openBundle(dir: string): Promise<OpenBundle> {
  return openFiles(dir, await readManifestBytes(dir), dir);
}

/**
 * Opens the files of a bundle folder, as {@link openBundle} does, by a manifest that was read before.
 * @param name of the folder, for errors
 */
export async function openFiles(dir: string, manifestBytes: Buffer, name: string): Promise<OpenBundle> {
  const manifest = parseManifest(manifestBytes);
  await requireFiles(dir, manifest, name);
  const itemIds = await readItems(join(dir, manifest.items.file));
  const clusterMaps = await readClusterMaps(dir, manifest);
  const slotUsage = await readAll(dir, manifest.training.slotUsage?.map(({ file }) => file) ?? []);
  return { dir, manifestBytes, model: createBundleModel({ manifestBytes, itemIds, clusterMaps, slotUsage }) };
}

/**
 * Checks the size and sha256 of every file of a bundle folder.
 * @throws bundle_invalid listing every problem found
 */
export async function requireFiles(dir: string, { files }: Manifest, name: string): Promise<void> {
  const problems = (await Promise.all(files.map((file) => fileProblem(dir, file)))).filter((p) => p !== '');
  if (problems.length === 0) return;
  const list = `${name} has ${counted(problems.length, 'problem')}: ${problems.join('; ')}`;
  throw new CkvError('bundle_invalid', `${list}; copy or export the bundle again`);
}

type ListedFile = Manifest['files'][number];

async function fileProblem(dir: string, listed: ListedFile): Promise<string> {
  try {
    return await withListedFile(dir, listed, async ({ handle }) => {
      const hash = createHash('sha256');
      for await (const chunk of handle.createReadStream({ autoClose: false })) hash.update(chunk);
      return hash.digest('hex') === listed.sha256
        ? ''
        : `${listed.path}: its sha256 differs from the one in bundle.json`;
    });
  } catch (error) {
    if (error instanceof CkvError) return error.message;
    throw error;
  }
}

/**
 * Opens a file that the manifest lists and passes it to `work`.
 * @throws bundle_invalid if it is no regular file of the folder or has another size; the errors of `work`
 */
export async function withListedFile<T>(
  dir: string,
  { path, bytes }: ListedFile,
  work: (file: BundleFile) => Promise<T>,
): Promise<T> {
  return withBundleFile(dir, path, async (file) => {
    if (file.bytes === bytes) return work(file);
    throw new CkvError('bundle_invalid', `${path}: has ${file.bytes} bytes, bundle.json says ${bytes}`);
  });
}

async function readClusterMaps(dir: string, { clusterings = [] }: Manifest): Promise<Map<string, Uint8Array>> {
  return readAll(
    dir,
    clusterings.flatMap(({ by }) => by.flatMap(({ map }) => map ?? [])),
  );
}

async function readAll(dir: string, paths: readonly string[]): Promise<Map<string, Uint8Array>> {
  const distinct = [...new Set(paths)];
  return new Map(await Promise.all(distinct.map(async (path) => [path, await readFile(join(dir, path))] as const)));
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
