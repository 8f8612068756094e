// A signed bundle folder that somebody changes: nothing that was not signed is used.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GRAPH_NAMES, type Manifest } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BundleTrust, followBundleTrust } from './bundle-trust.js';
import { loadBundle } from './load-bundle.js';
import { openBundle } from './open-bundle.js';
import { signBundle } from './sign-bundle.js';
import { makeKeyPair } from './signing.fixture.js';

const FACTORED = fileURLToPath(new URL('../../../test/fixtures/bundles/factored', import.meta.url));
const FILES = (await openBundle(FACTORED)).model.manifest.files.map(({ path }) => path);
const key = makeKeyPair();

let root: string;
let dir: string;
let engine: Engine;
let trust: BundleTrust | undefined;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ckv-signed-'));
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  await writeFile(join(root, 'trusted.pem'), key.publicPem);
  trust = followBundleTrust({ field: 'CKV_BUNDLE_TRUST', paths: join(root, 'trusted.pem') });
});
afterAll(async () => {
  trust?.close();
  await engine.close();
  await rm(root, { recursive: true });
});
beforeEach(async () => {
  dir = await mkdtemp(join(root, 'bundle-'));
  await cp(FACTORED, dir, { recursive: true });
  await signBundle(dir, key.key);
});

const load = async () => {
  const bundle = await loadBundle(dir, engine, { graphs: GRAPH_NAMES, verifyGolden: true, poolTables: true, trust });
  await bundle.close();
  return bundle;
};

/** Changes a file and bundle.json to it, and signs again, as an owner of the key could. */
async function resign(path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  const bytes = change(await readFile(join(dir, path)));
  await writeFile(join(dir, path), bytes);
  const manifest: Manifest = JSON.parse(await readFile(join(dir, 'bundle.json'), 'utf8'));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  Object.assign(manifest.files.find((file) => file.path === path) ?? {}, { bytes: bytes.length, sha256 });
  await writeFile(join(dir, 'bundle.json'), JSON.stringify(manifest));
  await signBundle(dir, key.key);
}

it('loads if nothing was changed', async () => {
  expect((await load()).manifestBytes).toEqual(await readFile(join(dir, 'bundle.json')));
});

it.each(FILES)('is refused if a bit of %s is flipped', async (path) => {
  const bytes = await readFile(join(dir, path));
  const at = bytes.length >> 1;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  await writeFile(join(dir, path), bytes);
  await expect(load()).rejects.toMatchObject({
    reason: 'bundle_invalid',
    message: expect.stringMatching(`^${dir} has 1 problem: ${path}: its sha256 differs`),
  });
});

it.each([
  ['bundle.json', 'has the signatures of bundle'],
  ['bundle.json.sig', 'is not signed, because its bundle.json.sig: is not JSON'],
])('is refused if %s is longer', async (path, problem) => {
  await appendFile(join(dir, path), 'x');
  await expect(load()).rejects.toMatchObject({
    reason: 'bundle_untrusted',
    message: expect.stringMatching(`^bundle [0-9a-f]{16} in ${dir} ${problem}`),
  });
});

it.each([
  ['longer', (path: string) => appendFile(path, 'x')],
  ['shorter', (path: string) => truncate(path, 10)],
])('is refused if a file is %s', async (_, change) => {
  await change(join(dir, 'pool.bin'));
  await expect(load()).rejects.toMatchObject({
    reason: 'bundle_invalid',
    message: expect.stringMatching(/pool\.bin: has \d+ bytes/),
  });
});

it('copies no file whose size is wrong: it may be endless', async () => {
  await truncate(join(dir, 'pool.bin'), 2 ** 40); // a hole
  await expect(load()).rejects.toMatchObject({
    message: expect.stringContaining('pool.bin: has 1099511627776 bytes'),
  });
}, 60_000);

describe('links', () => {
  it.each([
    ['pool.bin', 'bundle_invalid'],
    ['bundle.json', 'bundle_invalid'],
    ['bundle.json.sig', 'bundle_untrusted'],
  ])('out of the folder are refused, though %s has the right content', async (path, reason) => {
    const outside = join(root, `outside-${path}`);
    await rename(join(dir, path), outside);
    await symlink(outside, join(dir, path));
    await expect(load()).rejects.toMatchObject({
      reason,
      message: expect.stringContaining(`${path}: is a link out of the folder; put the file itself there`),
    });
  });

  it('out of the folder are refused if a folder in it is one', async () => {
    await rename(join(dir, 'golden'), join(root, 'outside-golden'));
    await symlink(join(root, 'outside-golden'), join(dir, 'golden'));
    await expect(load()).rejects.toMatchObject({ message: expect.stringContaining('is a link out of the folder') });
  });

  it('inside the folder are followed, as in a mounted volume of Kubernetes', async () => {
    await mkdir(join(dir, '..data'));
    for (const path of ['pool.bin', 'bundle.json', 'bundle.json.sig']) {
      await rename(join(dir, path), join(dir, '..data', path));
      await symlink(join('..data', path), join(dir, path));
    }
    await load();
  });

  it('to the folder itself are followed', async () => {
    const link = join(root, 'current');
    await symlink(dir, link);
    dir = link;
    await load();
  });
});

it('does not wait for the writer of a pipe', async () => {
  await rm(join(dir, 'pool.bin'));
  execFileSync('mkfifo', [join(dir, 'pool.bin')]);
  await expect(load()).rejects.toMatchObject({ message: expect.stringContaining('pool.bin: is not a regular file') });
});

it.each([
  ['is in the folder, but not listed', 'evil.bin', 'evil.bin'],
  ['is beside the folder', '../e.bin', '../e.bin'],
])('is refused if a graph reads a file that %s', async (_, location, written) => {
  await cp(join(dir, 'pool.bin'), join(dir, written));
  await resign('gather.onnx', (bytes) =>
    Buffer.from(bytes.toString('latin1').replaceAll('pool.bin', location), 'latin1'),
  );
  await expect(load()).rejects.toMatchObject({
    reason: 'bundle_invalid',
    message: expect.stringContaining('graph gather does not load'),
  });
});

it('leaves no copy behind when it is refused', async () => {
  const privateDir = join(root, 'private');
  await rm(join(dir, 'bundle.json.sig'));
  const options = { graphs: GRAPH_NAMES, verifyGolden: true, privateDir, trust };
  await expect(loadBundle(dir, engine, options)).rejects.toMatchObject({ reason: 'bundle_untrusted' });
  await expect(readdir(privateDir)).rejects.toMatchObject({ code: 'ENOENT' });
});
