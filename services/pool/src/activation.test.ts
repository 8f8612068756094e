import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createActivationFile, removeLeftActivations } from './activation.js';

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
  const first = { active: 'c'.repeat(16), previous: [] };
  expect(await createActivationFile(stateDir).write(first, undefined)).toBe(true);
  expect(await createActivationFile(stateDir).write(ACTIVATION, first)).toBe(true);
  expect(await createActivationFile(stateDir).read()).toEqual(ACTIVATION);
  const withCandidate = { ...ACTIVATION, candidates: [{ bundleId: 'd'.repeat(16), shareBp: 500 }] };
  expect(await createActivationFile(stateDir).write(withCandidate, ACTIVATION)).toBe(true);
  expect(await createActivationFile(stateDir).read()).toEqual(withCandidate);
  expect(await readdir(stateDir)).toEqual(['activation.json']);
});

it('writes nothing if another replica has changed the activation since', async () => {
  const file = createActivationFile(dir);
  await file.write(ACTIVATION, undefined);
  expect(await file.write({ active: 'c'.repeat(16), previous: [] }, undefined)).toBe(false);
  expect(await file.read()).toEqual(ACTIVATION);
  expect(await readdir(dir)).toEqual(['activation.json']);
});

it('removes files of processes that died long ago, and no change that another replica has yet to complete', async () => {
  await createActivationFile(dir).write(ACTIVATION, undefined);
  const dead = 'activation.json.aaaaaaaa-1111-4222-8333-444444444444';
  const kept = ['activation.json', 'activation.json.after-0123456789abcdef'];
  const hoursAgo = new Date(Date.now() - 2 * 3_600_000);
  for (const name of [dead, ...kept]) {
    await writeFile(join(dir, name), '{}');
    await utimes(join(dir, name), hoursAgo, hoursAgo);
  }
  await removeLeftActivations(dir);
  expect((await readdir(dir)).sort()).toEqual(kept);
});

it('completes the change of a replica that died as it made it, and refuses its own', async () => {
  const file = createActivationFile(dir);
  await file.write(ACTIVATION, undefined);
  const [mine, dead] = ['c', 'd'].map((digit) => ({ active: digit.repeat(16), previous: [] }));
  if (!mine || !dead) throw new Error('two are needed');
  const digest = createHash('sha256').update(JSON.stringify(ACTIVATION)).digest('hex').slice(0, 16);
  await writeFile(join(dir, `activation.json.after-${digest}`), JSON.stringify(dead));
  expect(await file.write(mine, ACTIVATION)).toBe(false);
  expect(await file.read()).toEqual(dead);
  expect(await file.write(mine, dead)).toBe(true);
  expect(await readdir(dir)).toEqual(['activation.json']);
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
  await file.write(ACTIVATION, undefined);
  await symlink('/dev/full', join(dir, 'activation.json.known'));
  await expect(file.write({ active: 'c'.repeat(16), previous: [] }, ACTIVATION)).rejects.toMatchObject({
    reason: 'overloaded',
    message: expect.stringMatching(/^CKV_STATE_DIR: .*\(ENOSPC\): the disk is full; free some space; the same bundle/),
  });
  expect(await readdir(dir)).toEqual(['activation.json']);
  expect(await file.read()).toEqual(ACTIVATION);
});

it('names the folder that cannot be written', async () => {
  const notFolder = join(dir, 'file');
  await writeFile(notFolder, '');
  await expect(createActivationFile(notFolder).write(ACTIVATION, undefined)).rejects.toMatchObject({
    reason: 'dependency_unavailable',
    message: expect.stringMatching(/^CKV_STATE_DIR: .*\(EEXIST\); let this user write there/),
  });
});
