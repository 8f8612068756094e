import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openCaptureFolder } from './capture-folder.js';

const [TAG, OTHER_TAG] = ['0123456789abcdef', 'fedcba9876543210'];
const TTL_MS = 3_600_000;
const content = Buffer.from('content');
let dir: string;
beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), 'ckv-captures-')), 'new', 'captures');
});
afterEach(() => rm(join(dir, '..', '..'), { recursive: true }));

const openFolder = () => openCaptureFolder({ dir, ttlMs: TTL_MS });
/** Makes a file as old as that. */
const age = (file: string, ms: number) => utimes(join(dir, file), new Date(), new Date(Date.now() - ms));

it('writes whole files that only this user of the machine may read', async () => {
  const folder = await openFolder();
  await folder.write({ captureId: 'c-1', userTag: TAG }, content);
  expect(await readdir(dir)).toEqual([`c-1.${TAG}.capture`]);
  expect((await stat(dir)).mode & 0o777).toBe(0o700);
  const file = join(dir, `c-1.${TAG}.capture`);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readFile(file)).toEqual(content);
  expect([folder.count, folder.bytes, folder.has('c-1'), folder.has('c')]).toEqual([1, content.length, true, false]);
});

it('never overwrites a capture, also not one that another process wrote', async () => {
  const [folder, other] = [await openFolder(), await openFolder()];
  await folder.write({ captureId: 'c', userTag: TAG }, content);
  await expect(other.write({ captureId: 'c', userTag: TAG }, Buffer.from('other'))).rejects.toThrow('EEXIST');
  expect(await readFile(join(dir, `c.${TAG}.capture`))).toEqual(content);
  expect(await readdir(dir)).toHaveLength(1);
});

it('finds the captures of a former process', async () => {
  await (await openFolder()).write({ captureId: 'c', userTag: TAG }, content);
  const folder = await openFolder();
  expect([folder.count, folder.bytes, folder.has('c')]).toEqual([1, content.length, true]);
});

it('removes captures after the TTL and what killed processes left, and nothing else', async () => {
  const folder = await openFolder();
  for (const captureId of ['old', 'young']) await folder.write({ captureId, userTag: TAG }, content);
  const partial = `.${'a'.repeat(8)}-aaaa-aaaa-aaaa-${'a'.repeat(12)}.partial`;
  for (const file of ['foreign', 'foreign.capture', partial]) await writeFile(join(dir, file), 'x');
  for (const file of [`old.${TAG}.capture`, 'foreign', 'foreign.capture', partial]) await age(file, TTL_MS);
  const later = await openFolder();
  expect((await readdir(dir)).sort()).toEqual(['foreign', 'foreign.capture', `young.${TAG}.capture`]);
  expect([later.count, later.has('old')]).toEqual([1, false]);
  await folder.sweep(); // hears of what the other removed
  expect([folder.count, folder.bytes, folder.has('old')]).toEqual([1, content.length, false]);
});

it('leaves folders and links alone, and removes the captures beside them', async () => {
  await (await openFolder()).write({ captureId: 'old', userTag: TAG }, content);
  const [folderName, linkName] = [`a.${TAG}.capture`, `b.${TAG}.capture`];
  await mkdir(join(dir, folderName));
  await symlink(dir, join(dir, linkName));
  for (const file of [folderName, `old.${TAG}.capture`]) await age(file, TTL_MS);
  const folder = await openFolder();
  expect((await readdir(dir)).sort()).toEqual([folderName, linkName]);
  expect([folder.count, folder.bytes]).toEqual([0, 0]);
});

it('removes the captures of the users with some tags', async () => {
  const folder = await openFolder();
  await folder.write({ captureId: 'a', userTag: TAG }, content);
  await folder.write({ captureId: 'b', userTag: TAG }, content);
  await folder.write({ captureId: 'c', userTag: OTHER_TAG }, content);
  expect(await folder.eraseTags(new Set([TAG]))).toBe(2);
  expect(await readdir(dir)).toEqual([`c.${OTHER_TAG}.capture`]);
  expect([folder.count, folder.bytes]).toEqual([1, content.length]);
});
