import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { bundleIdOf, encodingIdOf, invalidRequest, parseManifest } from '@collectivekv/domain';
import { fileError } from './file-error.js';
import { openBundle } from './open-bundle.js';

/** What {@link renewBundle} wrote. */
export interface RenewedBundle {
  readonly bundleId: string;
  readonly encodingId: string;
  readonly name: string;
  readonly generation: number;
}

const NAME = /^[a-z0-9-]{1,64}$/;

/**
 * Writes a copy of a bundle whose records are of the next generation. The copy gives the same rows and scores, and has
 * an encoding of its own. So its records can be built while the bundle serves. The copy is not signed.
 * @param copy a folder that is not there yet. Its last part is the name of the copy
 * @throws bundle_invalid; invalid_request if the folder exists, or cannot be a name; overloaded, dependency_unavailable
 * if it cannot be written. No folder is left then
 */
export async function renewBundle(dir: string, copy: string): Promise<RenewedBundle> {
  const name = basename(resolve(copy));
  if (!NAME.test(name)) {
    throw invalidRequest(
      '<copy>',
      `ends with "${name}"`,
      'end it with 1 to 64 of a-z, 0-9 and -, the name of the copy',
    );
  }
  const { manifestBytes, model } = await openBundle(dir);
  const { record, files } = model.manifest;
  const generation = (record.generation ?? 1) + 1;
  const written = JSON.parse(manifestBytes.toString('utf8'));
  const bytes = Buffer.from(
    `${JSON.stringify({ ...written, name, record: { ...written.record, generation } }, null, 2)}\n`,
  );
  try {
    await mkdir(copy);
  } catch (thrown) {
    throw (thrown as NodeJS.ErrnoException).code === 'EEXIST'
      ? invalidRequest('<copy>', `${copy} exists already`, 'name a folder that is not there')
      : fileError(dirname(resolve(copy)), thrown);
  }
  try {
    for (const { path } of files) await cp(join(dir, path), join(copy, path), { errorOnExist: true, force: false });
    await writeFile(join(copy, 'bundle.json'), bytes); // the last file: before it, a pool finds no bundle here
  } catch (thrown) {
    await rm(copy, { recursive: true, force: true });
    throw fileError(copy, thrown);
  }
  return { bundleId: bundleIdOf(bytes), encodingId: encodingIdOf(parseManifest(bytes)), name, generation };
}
