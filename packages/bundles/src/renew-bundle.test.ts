import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEngine } from '@collectivekv/engine';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TARGET } from './bundle-pieces.fixture.js';
import { loadBundle } from './load-bundle.js';
import { openBundle } from './open-bundle.js';
import { renewBundle } from './renew-bundle.js';
import { signBundle } from './sign-bundle.js';
import { makeKeyPair } from './signing.fixture.js';

let dir: string;
let bundle: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-renew-'));
  bundle = join(dir, 'mine');
  await cp(TARGET, bundle, { recursive: true });
});
afterEach(() => rm(dir, { recursive: true }));

it('writes a bundle that passes its golden vectors, with an encoding of its own', async () => {
  await signBundle(bundle, makeKeyPair().key);
  const { model } = await openBundle(bundle);
  const copy = join(dir, 'mine-again');
  const renewed = await renewBundle(bundle, copy);
  expect(renewed).toMatchObject({ name: 'mine-again', generation: 2 });
  expect(renewed.encodingId).not.toBe(model.encodingId);
  const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  const loaded = await loadBundle(copy, engine, { graphs: ['encode', 'rank'], verifyGolden: true, trust: undefined });
  expect(loaded.model).toMatchObject({ id: renewed.bundleId, encodingId: renewed.encodingId });
  expect(loaded.model.manifest).toEqual({
    ...model.manifest,
    name: 'mine-again',
    record: { ...model.manifest.record, generation: 2 },
  });
  await loaded.close();
  await engine.close();
  expect(await readdir(copy)).not.toContain('bundle.json.sig'); // it would be of another bundle.json
});

it('gives the next generation to a copy of a copy', async () => {
  const copies = ['two', 'three'].map((name) => join(dir, name));
  const [two = '', three = ''] = copies;
  const first = await renewBundle(bundle, two);
  const second = await renewBundle(two, three);
  expect(second.generation).toBe(3);
  expect(second.encodingId).not.toBe(first.encodingId);
});

it.each([
  ['a folder that exists', 'there', /<copy>: .*there exists already; name a folder that is not there/],
  ['a folder that cannot be a name', 'My Copy', /<copy>: ends with "My Copy"; end it with 1 to 64 of a-z/],
])('refuses %s, and leaves it as it is', async (_, name, message) => {
  await mkdir(join(dir, 'there'));
  await expect(renewBundle(bundle, join(dir, name))).rejects.toMatchObject({
    reason: 'invalid_request',
    message: expect.stringMatching(message),
  });
  expect((await readdir(dir)).sort()).toEqual(['mine', 'there']);
  expect(await readdir(join(dir, 'there'))).toEqual([]);
});

it('copies no bundle that is damaged', async () => {
  const { model } = await openBundle(bundle);
  await truncate(join(bundle, model.manifest.items.file), 3);
  await expect(renewBundle(bundle, join(dir, 'copy'))).rejects.toMatchObject({ reason: 'bundle_invalid' });
  expect(await readdir(dir)).toEqual(['mine']);
  expect((await readFile(join(bundle, model.manifest.items.file))).length).toBe(3);
});
