import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TARGET } from './bundle-pieces.fixture.js';
import { readGolden } from './golden.js';
import { loadBundle } from './load-bundle.js';
import { openBundle } from './open-bundle.js';

const BUNDLES = dirname(TARGET);
const RANKING = { graphs: ['rank', 'rankBatch'], verifyGolden: true } as const;

let dir: string;
let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  dir = await mkdtemp(join(tmpdir(), 'ckv-rank-batch-'));
});
afterAll(async () => {
  await engine.close();
  await rm(dir, { recursive: true, force: true });
});

describe('the graph for batches of users', () => {
  it.each(readdirSync(BUNDLES))('of the fixture %s gives the scores of PyTorch', async (name) => {
    const bundle = await loadBundle(join(BUNDLES, name), engine, RANKING);
    expect(bundle.model.manifest.graphs.rankBatch === undefined).toBe(name === 'hstu');
    expect(bundle.splitsCandidates).toBe(true); // of the rank graph
    await bundle.close();
  });

  it('has golden batches of one user, of users without positions, and of 64', async () => {
    const golden = await readGolden(await openBundle(TARGET));
    const batches = golden.filter(({ graph }) => graph === 'rankBatch');
    expect(batches.map(({ inputs }) => inputs.slots?.shape)).toEqual([
      [1, expect.any(Number)],
      [2, 0],
      [3, expect.any(Number)],
      [64, expect.any(Number)],
    ]);
  });

  it('is checked only if it is loaded', async () => {
    const copy = join(dir, 'wrong');
    await cp(TARGET, copy, { recursive: true });
    const manifest = JSON.parse(await readFile(join(copy, 'bundle.json'), 'utf8'));
    const index = JSON.parse(await readFile(join(copy, 'golden/tensors.json'), 'utf8'));
    const tensors = await readFile(join(copy, 'golden/tensors.bin'));
    const { scores } = index.cases.find(({ graph }: { graph: string }) => graph === 'rankBatch').outputs;
    tensors.fill(0, scores.offset, scores.offset + scores.bytes);
    await writeFile(join(copy, 'golden/tensors.bin'), tensors);
    const listed = manifest.files.find(({ path }: { path: string }) => path === 'golden/tensors.bin');
    listed.sha256 = createHash('sha256').update(tensors).digest('hex');
    await writeFile(join(copy, 'bundle.json'), JSON.stringify(manifest));
    await (await loadBundle(copy, engine, { ...RANKING, graphs: ['rank'] })).close();
    await expect(loadBundle(copy, engine, RANKING)).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringMatching(/rankBatch "1 user, .*PyTorch gave 0/),
    });
  });
});
