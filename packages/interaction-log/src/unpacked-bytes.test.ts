import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { unpackedBytes } from './unpacked-bytes.js';

const MIB = 1024 * 1024;
const BOMB_BYTES = 64 * MIB;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-unpack-'));
});
afterEach(() => rm(dir, { recursive: true }));

it('holds little of what a small file unpacks to, and gives all of it', async () => {
  const file = join(dir, 'bomb.csv.gz');
  const zeros = Array<Buffer>(BOMB_BYTES / MIB).fill(Buffer.alloc(MIB));
  await pipeline(zeros, createGzip(), createWriteStream(file));
  const before = process.memoryUsage().arrayBuffers;
  let bytes = 0;
  let held: number | undefined;
  for await (const piece of unpackedBytes(file, 'gz')) {
    held ??= process.memoryUsage().arrayBuffers - before;
    bytes += piece.length;
  }
  expect(bytes).toBe(BOMB_BYTES);
  expect(held).toBeLessThan(32 * MIB);
});
