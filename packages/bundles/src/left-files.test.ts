import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createAnnouncementFile } from './announcement.js';
import { removeLeftFiles } from './left-files.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-left-'));
});
afterEach(() => rm(dir, { recursive: true }));

const nowMs = Date.now();
/** Makes a file as old as given, and returns its name. */
async function fileNamed(name: string, ageHours: number): Promise<string> {
  const date = new Date(nowMs - ageHours * 3_600_000);
  await writeFile(join(dir, name), '{}');
  await utimes(join(dir, name), date, date);
  return name;
}

it('removes files of processes that died long ago, and none that another process may be writing', async () => {
  await fileNamed(`state.json.${randomUUID()}`, 1.1);
  const kept = [
    await fileNamed(`state.json.${randomUUID()}`, 0.9),
    await fileNamed('state.json', 2),
    await fileNamed('state.json.after-0123456789abcdef', 2),
    await fileNamed(`state-json.${randomUUID()}`, 2),
    await fileNamed(`other.json.${randomUUID()}`, 2),
    await fileNamed(`state.json.${randomUUID()}.mine`, 2),
  ];
  await removeLeftFiles(dir, 'state.json', nowMs);
  expect((await readdir(dir)).sort()).toEqual(kept.sort());
});

it('accepts a folder that is not there', async () => {
  await removeLeftFiles(join(dir, 'no folder'), 'state.json');
});

it('removes announcements that killed processes have not completed, as the next one is written', async () => {
  await fileNamed(`announcement.json.${randomUUID()}`, 2);
  const young = await fileNamed(`announcement.json.${randomUUID()}`, 0);
  const file = createAnnouncementFile(dir);
  await file.write({ activeBundleId: 'a' });
  expect((await readdir(dir)).sort()).toEqual(['announcement.json', young].sort());
  expect(await file.read()).toEqual({ activeBundleId: 'a' });
});
