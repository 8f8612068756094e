import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createActivationFile } from './activation.js';

// A known name for the temporary file, so that a test can lead it to a full disk.
vi.mock('node:crypto', async (original) => ({ ...(await original<object>()), randomUUID: () => 'known' }));

const ACTIVATION = { active: 'a'.repeat(16), previous: ['b'.repeat(16)] };
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-activation-'));
});
afterEach(() => rm(dir, { recursive: true }));

it('reads what another process wrote, and leaves no other file behind', async () => {
  const stateDir = join(dir, 'state');
  expect(await createActivationFile(stateDir).read()).toBeUndefined();
  await createActivationFile(stateDir).write({ active: 'c'.repeat(16), previous: [] });
  await createActivationFile(stateDir).write(ACTIVATION);
  expect(await createActivationFile(stateDir).read()).toEqual(ACTIVATION);
  const withCandidate = { ...ACTIVATION, candidates: [{ bundleId: 'd'.repeat(16), shareBp: 500 }] };
  await createActivationFile(stateDir).write(withCandidate);
  expect(await createActivationFile(stateDir).read()).toEqual(withCandidate);
  expect(await readdir(stateDir)).toEqual(['activation.json']);
});

it.each([
  ['is not JSON', 'x'],
  ['names no bundle', JSON.stringify({ ...ACTIVATION, active: '../evil' })],
  ['has an unknown field', JSON.stringify({ ...ACTIVATION, more: 1 })],
  [
    'has a share above the whole',
    JSON.stringify({ ...ACTIVATION, candidates: [{ bundleId: 'd'.repeat(16), shareBp: 10_001 }] }),
  ],
])('refuses a file that %s, and says what to do', async (_, text) => {
  await writeFile(join(dir, 'activation.json'), text);
  await expect(createActivationFile(dir).read()).rejects.toMatchObject({
    reason: 'bundle_not_loaded',
    message: expect.stringMatching(/CKV_STATE_DIR: .*delete it/),
  });
});

it('fails if the file cannot be read', async () => {
  const notFolder = join(dir, 'file');
  await writeFile(notFolder, '');
  await expect(createActivationFile(notFolder).read()).rejects.toMatchObject({ code: 'ENOTDIR' });
});

it.skipIf(process.platform !== 'linux')('says that the disk is full, and leaves everything as it was', async () => {
  const file = createActivationFile(dir);
  await file.write(ACTIVATION);
  await symlink('/dev/full', join(dir, 'activation.json.known'));
  await expect(file.write({ active: 'c'.repeat(16), previous: [] })).rejects.toMatchObject({
    reason: 'overloaded',
    message: expect.stringMatching(/^CKV_STATE_DIR: .*\(ENOSPC\): the disk is full; free some space; the same bundle/),
  });
  expect(await readdir(dir)).toEqual(['activation.json']);
  expect(await file.read()).toEqual(ACTIVATION);
});

it('names the folder that cannot be written', async () => {
  const notFolder = join(dir, 'file');
  await writeFile(notFolder, '');
  await expect(createActivationFile(notFolder).write(ACTIVATION)).rejects.toMatchObject({
    reason: 'dependency_unavailable',
    message: expect.stringMatching(/^CKV_STATE_DIR: .*\(EEXIST\); let this user write there/),
  });
});
