import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Manifest } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type LoadOptions, loadBundle } from './load-bundle.js';

const FACTORED = fileURLToPath(new URL('../../../test/fixtures/bundles/factored', import.meta.url));
const RANKING: LoadOptions = { graphs: ['encode', 'rank'], verifyGolden: true, poolTables: true };

let dir: string;
let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  dir = await mkdtemp(join(tmpdir(), 'ckv-served-'));
});
afterAll(async () => {
  await engine.close();
  await rm(dir, { recursive: true, force: true });
});

/** Copies the bundle with another cluster map. No graph changes. */
async function otherClusters(): Promise<string> {
  const copy = join(dir, 'other');
  await cp(FACTORED, copy, { recursive: true });
  const manifest: Manifest = JSON.parse(await readFile(join(copy, 'bundle.json'), 'utf8'));
  const by = manifest.clusterings?.[0]?.by.find(({ map }) => map !== undefined);
  const path = by?.map ?? '';
  const map = (await readFile(join(copy, path))).map((_, slot) => (slot * 7) % (by?.clusters ?? 1));
  await writeFile(join(copy, path), map);
  const sha256 = createHash('sha256').update(map).digest('hex');
  Object.assign(manifest.files.find((file) => file.path === path) ?? {}, { sha256 });
  await writeFile(join(copy, 'bundle.json'), JSON.stringify(manifest));
  return copy;
}

it('accepts a bundle with cluster means whose requests have the scores of PyTorch', async () => {
  const bundle = await loadBundle(FACTORED, engine, RANKING);
  expect(bundle.poolTables).toBeDefined();
  await bundle.close();
});

it('refuses a bundle whose cluster means give other scores, although its graphs reproduce their vectors', async () => {
  const copy = await otherClusters();
  await (await loadBundle(copy, engine, { ...RANKING, graphs: ['rank'] })).close();
  await expect(loadBundle(copy, engine, RANKING)).rejects.toMatchObject({
    reason: 'bundle_invalid',
    message: expect.stringMatching(/not reproduced.*request "300 interactions": .* but PyTorch gave/),
  });
});
