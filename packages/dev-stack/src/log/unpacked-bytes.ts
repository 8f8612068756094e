import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';

/** How a text file is packed. Its first bytes tell, not its name. */
export type Packing = 'none' | 'gz' | 'xz';

/** Packed text that ends too early, or whose content does not fit its checksums. */
export class PackingError extends Error {
  constructor(readonly cutShort: boolean) {
    super(cutShort ? 'is cut short' : 'is damaged');
  }
}

const CHUNK_BYTES = 1 << 18;

/**
 * Yields the bytes of a file, unpacked.
 * @throws PackingError after all bytes that could be unpacked; Error if the command xz is missing
 */
export function unpackedBytes(file: string, packing: Packing): AsyncIterable<Buffer> {
  if (packing === 'xz') return xzBytes(file);
  const bytes = createReadStream(file, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>;
  return packing === 'gz' ? gunzippedBytes(bytes) : bytes;
}

/** A stream in a pipeline drops its last bytes when it fails. So this writes one chunk at a time, and keeps its bytes. */
async function* gunzippedBytes(packed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip();
  const ready: Buffer[] = [];
  let failure: NodeJS.ErrnoException | undefined;
  gunzip.on('data', (bytes: Buffer) => ready.push(bytes));
  gunzip.on('error', (error) => {
    failure = error;
  });
  const closed = once(gunzip, 'close').catch(() => undefined);
  for await (const chunk of packed) {
    if (failure) break;
    const written = new Promise((done) => gunzip.write(chunk, done));
    await Promise.race([written, closed]); // a write that fails never calls back
    yield* ready.splice(0);
  }
  if (!failure) gunzip.end();
  await closed;
  yield* ready.splice(0);
  if (failure) throw new PackingError(failure.code === 'Z_BUF_ERROR');
}

async function* xzBytes(file: string): AsyncGenerator<Buffer> {
  const xz = spawn('xz', ['-dc', '-T1', '--', file], { stdio: ['ignore', 'pipe', 'pipe'] });
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
    if (exitCode !== 0) throw new PackingError(/unexpected end/i.test(complaint));
  } finally {
    xz.kill();
  }
}
