import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CkvError } from '@collectivekv/domain';

/** A file, and the option or variable that names it. */
export interface NamedFile {
  readonly field: string;
  readonly path: string;
}

/** Largest file with a secret, a certificate or a list of tokens. */
const MAX_BYTES = 1024 * 1024;
/** Opens a pipe without waiting for its writer. A file is read as ever. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Reads a small file. Links are followed. Files with secrets are read again and again. A pipe, as `<(...)` of a shell
 * is, can be read once only. So it is refused, like a device or a folder, and never waited for.
 * @param options.mayBePipe true for content that is read once only: waits for the writer of a pipe, and reads it
 * @throws Error that {@link readProblem} explains
 */
export function readSmallFile(path: string, { mayBePipe = false } = {}): Buffer {
  const file = openSync(path, mayBePipe ? constants.O_RDONLY : FLAGS);
  try {
    const found = fstatSync(file);
    if (!(mayBePipe && found.isFIFO())) refuseOtherKinds(found);
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(file, bytes, length, bytes.length - length, null);
    }
    return within(bytes, length);
  } finally {
    closeSync(file);
  }
}

/**
 * Reads a small file that an option or a variable names, as {@link readSmallFile} does.
 * @throws invalid_request that names the option, the file and the remedy
 */
export function readNamedFile(file: NamedFile, options: { readonly mayBePipe?: boolean } = {}): Buffer {
  try {
    return readSmallFile(file.path, options);
  } catch (cause) {
    throw unreadableFile(file, cause);
  }
}

/** Returns the invalid_request for a file that could not be read. */
export function unreadableFile({ field, path }: NamedFile, cause: unknown): CkvError {
  return new CkvError('invalid_request', `${field}: ${readProblem(path, cause)}`, { field, cause });
}

/** As {@link readSmallFile}, without blocking the process. */
export async function readSmallFileLater(path: string): Promise<Buffer> {
  const file: FileHandle = await open(path, FLAGS);
  try {
    refuseOtherKinds(await file.stat());
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      ({ bytesRead: read } = await file.read(bytes, length, bytes.length - length, null));
    }
    return within(bytes, length);
  } finally {
    await file.close();
  }
}

/**
 * Returns the text of an error: the path, why the file could not be read, and the remedy.
 * @param error of {@link readSmallFile}
 */
export function readProblem(path: string, error: unknown): string {
  if (error instanceof WrongFile) return `${path} ${error.message}`;
  const { code } = error as NodeJS.ErrnoException;
  return `${path} cannot be read (${code}); name a file that this process may read`;
}

/** A path that leads to something else than a small file. The text has the problem and the remedy. */
class WrongFile extends Error {}

function refuseOtherKinds(found: Stats): void {
  if (found.isFile()) return;
  const kind = found.isFIFO() ? 'a pipe' : found.isDirectory() ? 'a folder' : 'a device or a socket';
  throw new WrongFile(`is ${kind}, not a file, which can be read again; write the content into a file`);
}

function within(bytes: Buffer, length: number): Buffer {
  if (length <= MAX_BYTES) return Buffer.from(bytes.subarray(0, length));
  throw new WrongFile('has more than 1 MiB; name a file that holds a secret, certificates or tokens alone');
}
