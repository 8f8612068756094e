import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
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

/** Returns a folder's name as this process would choose it, with another process id, or another process space. */
function nameOf(pid: number, space?: string): string {
  const [, own] = basename(temporaryFolder(dir, 'private')).split('@');
  return `.private.${randomUUID()}.${pid}@${space ?? own}`;
}

/** Returns the id of a process that has ended. */
const endedProcess = () => spawnSync(process.execPath, ['-e', '']).pid;

it('removes the folders of ended processes at once, also of one that had the id of this process', async () => {
  await folderNamed(nameOf(endedProcess()));
  await folderNamed(nameOf(endedProcess()).replace('.private.', '.download.'));
  await folderNamed(nameOf(process.pid));
  await removeLeftBehind(dir);
  expect(await readdir(dir)).toEqual([]);
});

it('keeps its own folders, and those of running processes and of other containers and hosts', async () => {
  const kept = [
    await folderNamed(basename(temporaryFolder(dir, 'private'))),
    await folderNamed(nameOf(process.ppid)),
    await folderNamed(nameOf(endedProcess(), hostname())),
    await folderNamed(nameOf(endedProcess(), 'elsewhere.example')),
  ];
  await removeLeftBehind(dir);
  expect((await readdir(dir)).sort()).toEqual(kept.sort());
});

it('removes every temporary folder that is older than an hour, and no other folder', async () => {
  const [old, hourMs] = [await folderNamed('0123456789abcdef', 7_200_000), 3_600_000];
  await folderNamed(nameOf(process.ppid), hourMs + 60_000);
  await folderNamed('.download.b.1@elsewhere.example', hourMs + 60_000);
  await removeLeftBehind(dir);
  expect(await readdir(dir)).toEqual([old]);
});

it('goes by the clock of the file system, not by its own', async () => {
  const kept = await folderNamed(nameOf(process.ppid));
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 7_200_000 });
  try {
    await removeLeftBehind(dir);
  } finally {
    vi.useRealTimers();
  }
  expect(await readdir(dir)).toEqual([kept]);
});

it('is quiet about a folder that does not exist', async () => {
  await removeLeftBehind(join(dir, 'none'));
});
