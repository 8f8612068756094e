import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FetchBundleResponse__Output } from '@collectivekv/contracts';
import { ALL_GRAPH_NAMES, GRAPH_NAMES } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PIECE_BYTES, piecesOf, TARGET } from './bundle-pieces.fixture.js';
import { goldenDifference, readGolden } from './golden.js';
import { installBundle } from './install-bundle.js';
import { loadBundle } from './load-bundle.js';
import { openBundle } from './open-bundle.js';

const DEMO = fileURLToPath(new URL('../../../bundles/demo', import.meta.url));

let dir: string;
let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
});
afterAll(() => engine.close());
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-bundles-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function copyOfTarget(): Promise<string> {
  const copy = join(dir, 'copy');
  await cp(TARGET, copy, { recursive: true });
  return copy;
}

/** What tensors.json holds, as far as tests change it. */
interface GoldenIndex {
  file: string;
  cases: { graph: string; outputs: Record<string, { offset: number }> }[];
}

/** Changes a file and writes its new digest into bundle.json. */
async function forge(bundle: string, path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  const bytes = change(await readFile(join(bundle, path)));
  await writeFile(join(bundle, path), bytes);
  const manifest = JSON.parse(await readFile(join(bundle, 'bundle.json'), 'utf8'));
  const entry = manifest.files.find((file: { path: string }) => file.path === path);
  entry.bytes = bytes.length;
  entry.sha256 = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(bundle, 'bundle.json'), JSON.stringify(manifest));
}

/** Returns a text file with one text in place of another. */
function replaced(bytes: Buffer, from: string, to: string): Buffer {
  return Buffer.from(bytes.toString().replaceAll(from, to));
}

describe('a bundle folder', () => {
  it('opens, loads and reproduces every golden vector of the demo', async () => {
    const graphs = ALL_GRAPH_NAMES;
    const bundle = await loadBundle(DEMO, engine, { graphs, verifyGolden: true });
    expect(bundle.model.manifest.name).toBe('demo');
    const golden = await readGolden(await openBundle(DEMO));
    expect(new Set(golden.map(({ graph }) => graph))).toEqual(new Set(graphs));
    await bundle.close();
  });

  it('is refused with a list of every damaged file', async () => {
    const copy = await copyOfTarget();
    await writeFile(join(copy, 'pool.bin'), Buffer.alloc(69_632));
    await rm(join(copy, 'rank.onnx'));
    await writeFile(join(copy, 'items.json'), '{}');
    const problem = /3 problems.*items\.json: has 2 bytes.*pool\.bin: its sha256.*rank\.onnx: is missing/;
    await expect(openBundle(copy)).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringMatching(problem),
    });
  });

  it('is refused if its bundle.json is missing or is not JSON', async () => {
    await expect(openBundle(dir)).rejects.toMatchObject({
      message: expect.stringMatching(/bundle\.json: is missing; name a bundle folder/),
    });
    await writeFile(join(dir, 'bundle.json'), 'no json');
    await expect(openBundle(dir)).rejects.toMatchObject({ reason: 'bundle_invalid' });
  });

  it('is refused if its pool does not give the golden scores, although every digest fits', async () => {
    const copy = await copyOfTarget();
    await forge(copy, 'pool.bin', (bytes) => {
      for (let at = 0; at < bytes.length; at += 4) bytes.writeFloatLE(-bytes.readFloatLE(at), at);
      return bytes;
    });
    await expect(loadBundle(copy, engine, { graphs: GRAPH_NAMES, verifyGolden: true })).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringMatching(/not reproduced.*rank.*PyTorch gave/),
    });
  });

  it.each([
    [
      'a graph without a golden vector',
      (golden: GoldenIndex) => {
        golden.cases = golden.cases.filter(({ graph }) => graph !== 'gather');
      },
      /gather has no golden vector/,
    ],
    [
      'a golden tensor beyond its file',
      (golden: GoldenIndex) => {
        for (const { outputs } of golden.cases) for (const spec of Object.values(outputs)) spec.offset += 1e9;
      },
      /does not fit its file or its shape/,
    ],
    [
      'golden tensors in an unlisted file',
      (golden: GoldenIndex) => {
        golden.file = '../tensors.bin';
      },
      /is not in files of bundle\.json/,
    ],
  ])('is refused for %s', async (_, change, message) => {
    const copy = await copyOfTarget();
    await forge(copy, 'golden/tensors.json', (bytes) => {
      const golden = JSON.parse(bytes.toString());
      change(golden);
      return Buffer.from(JSON.stringify(golden));
    });
    await expect(loadBundle(copy, engine, { graphs: ['gather'], verifyGolden: true })).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringMatching(message),
    });
  });

  it.each<[string, string, (bytes: Buffer) => Buffer]>([
    [
      'whose golden vectors name a slot beyond the pool',
      'golden/tensors.bin',
      (bytes) => Buffer.alloc(bytes.length, 0x7f),
    ],
    [
      'whose golden vectors lack an input',
      'golden/tensors.json',
      (bytes) => replaced(bytes, '"item_index"', '"other"'),
    ],
    [
      'whose golden vectors name no file',
      'golden/tensors.json',
      (bytes) => replaced(bytes, '"golden/tensors.bin"', '"rank"'),
    ],
    ['whose graph is empty', 'rank.onnx', () => Buffer.alloc(0)],
    ['whose graph is text', 'rank.onnx', () => Buffer.from('not a graph')],
    ['whose graph is another one', 'rank.onnx', () => readFileSync(join(TARGET, 'gather.onnx'))],
    ['whose weights are cut', 'weights.bin', (bytes) => bytes.subarray(0, 100)],
    ['whose pool is cut', 'pool.bin', (bytes) => bytes.subarray(0, 100)],
  ])('is refused as invalid, not as a bug, %s', async (_, path, change) => {
    const copy = await copyOfTarget();
    await forge(copy, path, change);
    const options = { graphs: GRAPH_NAMES, verifyGolden: true, poolTables: true };
    const outcome = await loadBundle(copy, engine, options).catch((error) => error.reason);
    expect(outcome).toBe('bundle_invalid');
    await (await loadBundle(TARGET, engine, options)).close(); // the engine still takes a good one
  });

  it('is refused if its encode graph reads a file outside of its folder, which the encoding id would not have', async () => {
    const copy = await copyOfTarget();
    const outside = '../enc.bin'; // as long as the graph's own name for it
    await cp(join(copy, 'encode', 'encode.bin'), join(copy, 'enc.bin'));
    await forge(copy, 'encode/encode.onnx', (bytes) =>
      Buffer.from(bytes.toString('latin1').replaceAll('encode.bin', outside), 'latin1'),
    );
    const manifest = JSON.parse(await readFile(join(copy, 'bundle.json'), 'utf8'));
    const listed = manifest.files.find((file: { path: string }) => file.path === 'encode/encode.bin');
    manifest.files.push({ ...listed, path: 'enc.bin' });
    await writeFile(join(copy, 'bundle.json'), JSON.stringify(manifest));
    await expect(loadBundle(copy, engine, { graphs: ['encode'], verifyGolden: true })).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringMatching(/escapes model directory/),
    });
  });

  it('is refused if it lists a file outside its folder', async () => {
    const copy = await copyOfTarget();
    const manifest = JSON.parse(await readFile(join(copy, 'bundle.json'), 'utf8'));
    manifest.files[0].path = '../../etc/passwd';
    await writeFile(join(copy, 'bundle.json'), JSON.stringify(manifest));
    await expect(openBundle(copy)).rejects.toMatchObject({ message: expect.stringMatching(/files\.0\.path/) });
  });
});

describe('goldenDifference', () => {
  const golden = (value: number) => ({
    graph: 'rank' as const,
    name: 'x',
    inputs: {},
    outputs: { scores: { type: 'float32' as const, data: Float32Array.of(value), shape: [1] } },
  });
  it.each([
    [0.5, 0.50009, ''],
    [0.5, 0.5002, 'scores[0]'],
    [1_000, 1_000.09, ''],
    [0.5, Number.NaN, 'scores[0]'],
  ])('compares %f with %f', (wanted, got, difference) => {
    expect(goldenDifference(golden(wanted), golden(got).outputs, 1e-4)).toContain(difference);
    expect(goldenDifference(golden(wanted), golden(got).outputs, 1e-4) === '').toBe(difference === '');
  });
});

it.each([
  ['no', undefined],
  ['fewer', [0.5]],
  ['more', [0.5, 0.5, 0.5]],
])('goldenDifference reports %s elements', (_, values) => {
  const tensorOf = (data: number[]) => ({
    type: 'float32' as const,
    data: Float32Array.from(data),
    shape: [data.length],
  });
  const golden = { graph: 'rank' as const, name: 'x', inputs: {}, outputs: { scores: tensorOf([0.5, 0.5]) } };
  const outputs = values ? { scores: tensorOf(values) } : {};
  expect(goldenDifference(golden, outputs, 1e-4)).toBe(
    `scores has ${values?.length ?? 0} ${values?.length === 1 ? 'element' : 'elements'}, not 2`,
  );
});

describe('installBundle', () => {
  async function* changed(change: (piece: FetchBundleResponse__Output) => FetchBundleResponse__Output[]) {
    for await (const piece of piecesOf(TARGET)) yield* change(piece);
  }
  const install = async (change: Parameters<typeof changed>[0] = (piece) => [piece]) =>
    installBundle({
      bundleId: (await openBundle(TARGET)).model.id,
      cacheDir: dir,
      fetch: () => changed(change),
      trust: undefined,
    });

  it('writes a complete bundle once', async () => {
    const { id } = (await openBundle(TARGET)).model;
    const installed = await install();
    expect((await openBundle(installed)).model.id).toBe(id);
    const fetch = () => {
      throw new Error('fetched again');
    };
    expect(await installBundle({ bundleId: id, cacheDir: dir, fetch, trust: undefined })).toBe(installed);
  });

  it('installs a bundle once if two processes fetch it into the same folder', async () => {
    const [one, other] = await Promise.all([install(), install()]);
    expect(one).toBe(other);
    expect(await readdir(dir)).toEqual([(await openBundle(one)).model.id]);
  });

  it('removes the download that a killed process left an hour ago, and no other', async () => {
    const old = new Date(Date.now() - 3_700_000);
    for (const name of ['.download.old', '.download.new']) await mkdir(join(dir, name));
    await utimes(join(dir, '.download.old'), old, old);
    const installed = await install();
    expect((await readdir(dir)).sort()).toEqual(['.download.new', basename(installed)]);
  });

  it('refuses another bundle than the one that was asked for', async () => {
    const installing = installBundle({
      bundleId: 'f'.repeat(16),
      cacheDir: dir,
      fetch: () => piecesOf(TARGET),
      trust: undefined,
    });
    await expect(installing).rejects.toMatchObject({ message: expect.stringMatching(/not the one of bundle f+/) });
    expect(await readdir(dir)).toEqual([]);
  });

  it.each([
    ['a damaged chunk', (p) => [{ ...p, chunk: Buffer.from(p.chunk).fill(0, 0, 1) }], /checksum/],
    ['a missing chunk', (p) => (p.path === 'pool.bin' && p.offset === PIECE_BYTES ? [] : [p]), /out of order/],
    ['a missing file', (p) => (p.path === 'items.json' ? [] : [p]), /items\.json/],
    [
      'a file that is not listed',
      (p) => [p.path === 'items.json' ? { ...p, path: '../evil' } : p],
      /not in bundle\.json/,
    ],
    [
      'a chunk of another file',
      (p) => [p.path === 'pool.bin' && p.offset === PIECE_BYTES ? { ...p, path: 'rank.onnx' } : p],
      /out of order/,
    ],
    [
      'a file that is longer than listed',
      (p) =>
        p.path === 'items.json' && p.last
          ? [
              { ...p, last: false },
              { ...p, offset: p.offset + p.chunk.length },
            ]
          : [p],
      /too long/,
    ],
    ['a stream cut short', (p) => (p.path.startsWith('golden') ? [] : [p]), /ended before/],
  ] satisfies [string, Parameters<typeof changed>[0], RegExp][])(
    'leaves no file behind after %s',
    async (_, change, message) => {
      await expect(install(change)).rejects.toMatchObject({ message: expect.stringMatching(message) });
      expect(await readdir(dir)).toEqual([]);
    },
  );

  it('refuses signatures of more than 16 KiB', async () => {
    const long = Buffer.alloc(16 * 1024 + 1);
    await expect(install((piece) => [{ ...piece, signatures: long }])).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringContaining('signatures: 16385 bytes, at most 16384 are allowed'),
    });
    expect(await readdir(dir)).toEqual([]);
  });
});
