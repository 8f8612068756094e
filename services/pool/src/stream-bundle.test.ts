import { createHash, generateKeyPairSync } from 'node:crypto';
import { readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LoadedBundle, signBundle } from '@collectivekv/bundles';
import type { FetchBundleResponse } from '@collectivekv/contracts';
import { afterAll, expect, it } from 'vitest';
import { CHUNK_BYTES, streamBundle } from './stream-bundle.js';
import { copyBundles } from './two-bundles.fixture.js';

const copies = copyBundles('streamed');
const [dir = ''] = copies.dirs;
afterAll(copies.remove);

/** A bundle with these files. */
const bundleOf = (...paths: string[]) =>
  ({
    dir,
    manifestBytes: readFileSync(join(dir, 'bundle.json')),
    model: { manifest: { files: paths.map((path) => ({ path, bytes: statSync(join(dir, path)).size })) } },
  }) as unknown as LoadedBundle;

async function piecesOf(bundle: LoadedBundle, signal = new AbortController().signal): Promise<FetchBundleResponse[]> {
  const pieces = [];
  for await (const piece of streamBundle(bundle, signal)) pieces.push(piece);
  return pieces;
}

it('streams every file in order, complete, in chunks of bounded size with checksums', async () => {
  writeFileSync(join(dir, 'long'), Buffer.from(Array.from({ length: 2 * CHUNK_BYTES + 5 }, (_, i) => i % 251)));
  const pieces = await piecesOf(bundleOf('long', 'golden/tensors.bin'));
  const paths = ['bundle.json', 'long', 'golden/tensors.bin'];
  expect([...new Set(pieces.map(({ path }) => path))]).toEqual(paths);
  for (const path of paths) {
    const ofFile = pieces.filter((piece) => piece.path === path);
    const chunks = ofFile.map(({ chunk }) => Buffer.from(chunk as Uint8Array));
    expect(Buffer.concat(chunks).equals(readFileSync(join(dir, path)))).toBe(true);
    let offset = 0;
    ofFile.forEach((piece, i) => {
      const length = chunks[i]?.length ?? 0;
      expect(length).toBeLessThanOrEqual(CHUNK_BYTES);
      expect(piece.offset).toBe(offset);
      expect(piece.last).toBe(i === ofFile.length - 1);
      const wanted = createHash('sha256')
        .update(chunks[i] as Buffer)
        .digest();
      expect(wanted.equals(piece.sha256 as Buffer)).toBe(true);
      offset += length;
    });
  }
  expect(pieces.filter(({ path }) => path === 'long')).toHaveLength(3);
});

it('sends the signatures of this moment with the first chunk only', async () => {
  const signatureFile = join(dir, 'bundle.json.sig');
  const sent = async () => (await piecesOf(bundleOf('pool.bin'))).map(({ signatures = '' }) => String(signatures));
  expect((await sent()).join('')).toBe('');
  await signBundle(dir, generateKeyPairSync('ed25519').privateKey);
  const [first, ...others] = await sent();
  expect(first).toBe(readFileSync(signatureFile, 'utf8'));
  expect(others.join('')).toBe('');
  rmSync(signatureFile);
});

it.each([
  ['no signatures', (path: string) => writeFileSync(path, 'a secret')],
  ['a link out of the folder', (path: string) => symlinkSync(process.execPath, path)],
])('sends no signature file with %s', async (_, write) => {
  const signatureFile = join(dir, 'bundle.json.sig');
  write(signatureFile);
  const pieces = await piecesOf(bundleOf('pool.bin'));
  expect(pieces.map(({ signatures = '' }) => String(signatures)).join('')).toBe('');
  rmSync(signatureFile);
});

it('streams the bundle.json that was checked, whatever the folder has now', async () => {
  const bundle = bundleOf('pool.bin');
  const path = join(dir, 'bundle.json');
  writeFileSync(path, 'a secret');
  const [piece] = await piecesOf(bundle);
  writeFileSync(path, bundle.manifestBytes);
  expect(Buffer.from(piece?.chunk as Uint8Array).equals(bundle.manifestBytes)).toBe(true);
});

it('streams an empty file, and one of exactly a chunk, as one chunk each', async () => {
  writeFileSync(join(dir, 'empty'), '');
  writeFileSync(join(dir, 'chunk'), Buffer.alloc(CHUNK_BYTES));
  const pieces = (await piecesOf(bundleOf('empty', 'chunk'))).filter(({ path }) => path !== 'bundle.json');
  expect(pieces.map(({ path, offset, chunk, last }) => [path, offset, chunk?.length, last])).toEqual([
    ['empty', 0, 0, true],
    ['chunk', 0, CHUNK_BYTES, true],
  ]);
});

it('ends when the caller leaves', async () => {
  const caller = new AbortController();
  const pieces = [];
  writeFileSync(join(dir, 'two'), Buffer.alloc(CHUNK_BYTES + 1));
  for await (const piece of streamBundle(bundleOf('two'), caller.signal)) {
    pieces.push(piece);
    caller.abort();
  }
  expect(pieces).toHaveLength(1);
});

it.each([
  ['emptied', (path: string) => truncateSync(path, 0)],
  ['removed', (path: string) => rmSync(path)],
  [
    'replaced by a link out of the folder',
    (path: string) => {
      const outside = join(copies.dir, 'outside');
      writeFileSync(outside, 'x');
      rmSync(path);
      symlinkSync(outside, path);
    },
  ],
])('fails if a file was %s after the bundle was loaded', async (_, damage) => {
  const path = join(dir, 'damaged');
  writeFileSync(path, 'x');
  const bundle = bundleOf('damaged');
  damage(path);
  await expect(piecesOf(bundle)).rejects.toMatchObject({
    reason: 'bundle_invalid',
    message: expect.stringContaining('damaged was changed'),
  });
});

it('fails if a file is emptied while it is streamed', async () => {
  const path = join(dir, 'shrinking');
  writeFileSync(path, Buffer.alloc(2 * CHUNK_BYTES));
  const pieces = streamBundle(bundleOf('shrinking'), new AbortController().signal);
  await pieces.next(); // bundle.json
  await pieces.next();
  truncateSync(path, 0);
  await expect(pieces.next()).rejects.toMatchObject({ reason: 'bundle_invalid' });
});
