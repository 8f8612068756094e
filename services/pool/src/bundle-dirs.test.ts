import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findBundleDirs, findIgnoredDirs } from './bundle-dirs.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-dirs-'));
});
afterEach(() => rm(dir, { recursive: true }));

async function addBundle(name: string): Promise<string> {
  await mkdir(join(dir, name), { recursive: true });
  await writeFile(join(dir, name, 'bundle.json'), '{}');
  return join(dir, name);
}

it('finds every bundle of a folder in the order of their names, and skips other entries', async () => {
  const [b, a] = [await addBundle('b'), await addBundle('a')];
  await mkdir(join(dir, 'empty'));
  await mkdir(join(dir, 'odd', 'bundle.json'), { recursive: true });
  await writeFile(join(dir, 'file'), '');
  expect(await findBundleDirs(dir)).toEqual([a, b]);
});

it('takes a folder with a bundle.json as one bundle, and names the bundles inside it as ignored', async () => {
  await addBundle('.');
  const inside = await addBundle('inside');
  await mkdir(join(dir, 'golden'));
  expect(await findBundleDirs(dir)).toEqual([dir]);
  expect(await findIgnoredDirs(dir)).toEqual([inside]);
});

it('ignores no bundle of a folder of bundles', async () => {
  await addBundle('a');
  expect(await findIgnoredDirs(dir)).toEqual([]);
});

it.each(['', 'missing'])('refuses a folder without a bundle: "%s"', async (name) => {
  await expect(findBundleDirs(join(dir, name))).rejects.toMatchObject({
    reason: 'bundle_invalid',
    message: expect.stringMatching(/^CKV_BUNDLES_DIR: .* has no bundle/),
  });
});
