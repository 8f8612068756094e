import { closeSync, createReadStream, openSync, readSync } from 'node:fs';

/** Largest file with a secret, a certificate or a list of tokens. */
const MAX_BYTES = 1024 * 1024;

/**
 * Reads a small file, or a pipe until it ends.
 * @throws the system's error; EFBIG if it has more than 1 MiB, as a device without an end has
 */
export function readSmallFile(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(file, bytes, length, bytes.length - length, null);
    }
    return within(path, bytes, length);
  } finally {
    closeSync(file);
  }
}

/** As {@link readSmallFile}, without blocking the process. */
export async function readSmallFileLater(path: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(path, { end: MAX_BYTES })) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  return within(path, bytes, bytes.length);
}

function within(path: string, bytes: Buffer, length: number): Buffer {
  if (length > MAX_BYTES) throw Object.assign(new Error(`${path} has more than 1 MiB`), { code: 'EFBIG' });
  return Buffer.from(bytes.subarray(0, length));
}
