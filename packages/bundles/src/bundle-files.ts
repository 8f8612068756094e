import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { CkvError } from '@collectivekv/domain';

/** A regular file of a bundle folder, open for reading. */
export interface BundleFile {
  readonly handle: FileHandle;
  /** Its path without links. */
  readonly path: string;
  readonly bytes: number;
}

/**
 * Opens a file of a bundle folder. A link may lead to another place in the folder, as in a mounted volume of
 * Kubernetes. It may not lead out: whoever may write the folder could otherwise have other files read.
 * @throws bundle_invalid that begins with the path: `pool.bin: is missing`
 */
export async function openBundleFile(dir: string, path: string): Promise<BundleFile> {
  const [folder, found] = await Promise.all([realpath(dir), realpath(join(dir, path))]).catch(unreadable(path));
  if (!found.startsWith(`${folder}${sep}`)) {
    throw invalid(path, 'is a link out of the folder; put the file itself there');
  }
  // Opening a pipe would wait for its writer.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(found, flags).catch(unreadable(path));
  const stat = await handle.stat();
  if (stat.isFile()) return { handle, path: found, bytes: stat.size };
  await handle.close();
  throw invalid(path, 'is not a regular file');
}

/**
 * Opens a file of a bundle folder, and closes it when `work` is done.
 * @throws the errors of {@link openBundleFile} and of `work`
 */
export async function withBundleFile<T>(dir: string, path: string, work: (file: BundleFile) => Promise<T>): Promise<T> {
  const file = await openBundleFile(dir, path);
  try {
    return await work(file);
  } finally {
    await file.handle.close();
  }
}

/**
 * Reads a file of a bundle folder.
 * @param maxBytes most bytes that it may have
 * @throws bundle_invalid that begins with the path
 */
export async function readBundleFile(dir: string, path: string, maxBytes: number): Promise<Buffer> {
  return withBundleFile(dir, path, async ({ handle, bytes }) => {
    if (bytes > maxBytes) throw invalid(path, `has ${bytes} bytes, at most ${maxBytes} are allowed`);
    return handle.readFile();
  });
}

/** True if the error says that there is no such file. */
export function isMissing(error: unknown): boolean {
  return error instanceof CkvError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}

function unreadable(path: string): (cause: NodeJS.ErrnoException) => never {
  return (cause) => {
    throw invalid(path, cause.code === 'ENOENT' ? 'is missing' : `cannot be read (${cause.code})`, cause);
  };
}

function invalid(path: string, problem: string, cause?: unknown): CkvError {
  return new CkvError('bundle_invalid', `${path}: ${problem}`, { cause });
}
