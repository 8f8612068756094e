import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { removeLeftBehind, temporaryFolder } from './temporary-folders.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-temporary-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** Makes a folder with a file in it, and returns its name. */
async function folderNamed(name: string, ageMs = 0): Promise<string> {
  await mkdir(join(dir, name));
  await writeFile(join(dir, name, 'pool.bin'), 'rows');
  const date = new Date(Date.now() - ageMs);
  await utimes(join(dir, name), date, date);
  return name;
}

/** Returns the id of a process that has ended. */
const endedProcess = () => spawnSync(process.execPath, ['-e', '']).pid;

it('removes the folders of ended processes at once, also of one that had the id of this process', async () => {
  await folderNamed(`.private.a.${endedProcess()}@${hostname()}`);
  await folderNamed(`.download.b.${endedProcess()}@${hostname()}`);
  await folderNamed(`.private.c.${process.pid}@${hostname()}`);
  await removeLeftBehind(dir);
  expect(await readdir(dir)).toEqual([]);
});

it('keeps its own folders, and those of running processes and of other hosts', async () => {
  const kept = [
    await folderNamed(basename(temporaryFolder(dir, 'private'))),
    await folderNamed(`.private.a.${process.ppid}@${hostname()}`),
    await folderNamed(`.download.b.${endedProcess()}@elsewhere.example`),
  ];
  await removeLeftBehind(dir);
  expect((await readdir(dir)).sort()).toEqual(kept.sort());
});

it('removes every temporary folder that is older than an hour, and no other folder', async () => {
  const [old, hourMs] = [await folderNamed('0123456789abcdef', 7_200_000), 3_600_000];
  await folderNamed(`.private.a.${process.ppid}@${hostname()}`, hourMs + 60_000);
  await folderNamed('.download.b.1@elsewhere.example', hourMs + 60_000);
  await removeLeftBehind(dir);
  expect(await readdir(dir)).toEqual([old]);
});

it('is quiet about a folder that does not exist', async () => {
  await removeLeftBehind(join(dir, 'none'));
});
