import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { createGunzip, type Gunzip } from 'node:zlib';

/** How a text file is packed. Its first bytes tell, not its name. */
export type Packing = 'none' | 'gz' | 'xz';

const REFETCH = 'fetch or pack it again';

/** Packed text that ends too early, whose content does not fit its checksums, or that needs too much memory. */
export class PackingError extends Error {
  constructor(
    problem: string,
    readonly remedy: string,
    readonly cutShort = false,
  ) {
    super(problem);
  }
}

function brokenPacking(cutShort: boolean): PackingError {
  return new PackingError(cutShort ? 'is cut short' : 'is damaged', REFETCH, cutShort);
}

const CHUNK_BYTES = 1 << 18;
/** Packed bytes that are unpacked at once. They give at most 17 MB, since a byte of gzip gives at most 1,032. */
const GZ_CHUNK_BYTES = 1 << 14;
/**
 * Most memory that unpacking xz may take. `xz -9` needs 65 MiB. training/data/reading/packed_text.py has the same
 * bound.
 */
const MOST_XZ_MIB = 128;

/**
 * Yields the bytes of a file, unpacked.
 * @throws PackingError after all bytes that could be unpacked; Error if the command xz is missing
 */
export function unpackedBytes(file: string, packing: Packing): AsyncIterable<Buffer> {
  if (packing === 'xz') return xzBytes(file);
  const highWaterMark = packing === 'gz' ? GZ_CHUNK_BYTES : CHUNK_BYTES;
  const bytes = createReadStream(file, { highWaterMark }) as AsyncIterable<Buffer>;
  return packing === 'gz' ? gunzippedBytes(bytes) : bytes;
}

/**
 * A stream in a pipeline drops its last bytes when it fails. So this writes one chunk at a time, and keeps its bytes.
 */
async function* gunzippedBytes(packed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const ready: Buffer[] = [];
  let failure: NodeJS.ErrnoException | undefined;
  gunzip.on('data', (bytes: Buffer) => ready.push(bytes));
  gunzip.on('error', (error) => {
    failure = error;
  });
  const closed = once(gunzip, 'close').catch(() => undefined);
  try {
    for await (const chunk of packed) {
      if (failure) break;
      await writtenOrClosed(gunzip, chunk);
      yield* ready.splice(0);
    }
    if (!failure) gunzip.end();
    await closed;
    yield* ready.splice(0);
    if (failure) throw brokenPacking(failure.code === 'Z_BUF_ERROR');
  } finally {
    gunzip.destroy();
  }
}

/** Resolves when the chunk is unpacked, or the stream is closed: a write that fails never calls back. */
async function writtenOrClosed(gunzip: Gunzip, chunk: Buffer): Promise<void> {
  if (gunzip.closed) return;
  await new Promise<void>((resolve) => {
    gunzip.once('close', resolve);
    gunzip.write(chunk, () => {
      gunzip.off('close', resolve); // a large file has many chunks
      resolve();
    });
  });
}

async function* xzBytes(file: string): AsyncGenerator<Buffer> {
  const xz = spawn('xz', ['-dc', '-T1', `--memlimit-decompress=${MOST_XZ_MIB}MiB`, '--', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' }, // its complaints are read below
  });
  let complaint = '';
  xz.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const ended = once(xz, 'close').catch(() => {
    throw new Error('the command xz is not installed; install it, or unpack the file');
  });
  ended.catch(() => undefined); // awaited below
  try {
    for await (const bytes of xz.stdout) yield bytes;
    const [exitCode] = await ended;
    if (exitCode === 0) return;
    if (!/memory usage limit/i.test(complaint)) throw brokenPacking(/unexpected end/i.test(complaint));
    throw new PackingError(
      `needs more than ${MOST_XZ_MIB} MiB of memory to unpack`,
      'pack it again with xz -9 or less',
    );
  } finally {
    xz.kill();
  }
}
