import { cp, mkdir, mkdtemp, readdir, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { TARGET } from './bundle-pieces.fixture.js';
import { readGolden } from './golden.js';
import { loadBundle } from './load-bundle.js';
import type { LoadedBundle } from './loaded-bundle.js';
import { openBundle } from './open-bundle.js';
import { openPrivateCopy } from './private-copy.js';

const LOAD = { graphs: ['gather'], verifyGolden: true } as const;

let dir: string;
let copy: string;
let privateDir: string;
let engine: Engine;
let threads: Worker[];
let deaths: unknown[];
const collect = (thread: Worker) => threads.push(thread);
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-private-'));
  copy = join(dir, 'bundle');
  privateDir = join(dir, 'private');
  await cp(TARGET, copy, { recursive: true });
  threads = [];
  deaths = [];
  process.on('worker', collect);
  const onWorkerDeath = (error: unknown) => deaths.push(error);
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 9, onWorkerDeath });
});
afterEach(async () => {
  process.off('worker', collect);
  await engine.close();
  await rm(dir, { recursive: true });
});

/** Runs a golden vector of the gather graph. Returns the outputs that differ from PyTorch's. */
async function runGolden(bundle: LoadedBundle): Promise<string[]> {
  const golden = (await readGolden(await openBundle(TARGET))).find(({ graph }) => graph === 'gather');
  const outputs = await bundle.graphs.run('gather', golden?.inputs ?? {});
  return Object.keys(outputs).filter(
    (name) =>
      JSON.stringify([...(outputs[name]?.data ?? [])]) !== JSON.stringify([...(golden?.outputs[name]?.data ?? [])]),
  );
}

it('keeps the loaded graphs when the files are emptied, and leaves no copy behind', async () => {
  const bundle = await loadBundle(copy, engine, { ...LOAD, privateDir });
  expect(await readdir(privateDir)).toEqual([]);
  await truncate(join(copy, 'pool.bin'));
  expect(await runGolden(bundle)).toEqual([]);
});

it('gives the graphs to a worker that replaces another, from a copy that is verified again', async () => {
  const bundle = await loadBundle(copy, engine, { ...LOAD, privateDir });
  await threads[0]?.terminate();
  await vi.waitUntil(() => bundle.graphs.idleWorkerCount === 1, { timeout: 10_000 });
  expect(await runGolden(bundle)).toEqual([]);
  expect(await readdir(privateDir)).toEqual([]);

  await truncate(join(copy, 'pool.bin'));
  await threads[1]?.terminate();
  await vi.waitUntil(() => deaths.length > 2, { timeout: 10_000 });
  expect(deaths.at(-1)).toMatchObject({ message: expect.stringMatching(/pool\.bin: has 0 bytes/) });
  expect(await readdir(privateDir)).toEqual([]);

  await cp(TARGET, copy, { recursive: true });
  await vi.waitUntil(() => bundle.graphs.idleWorkerCount === 1, { timeout: 20_000 });
  expect(await runGolden(bundle)).toEqual([]);
});

it('names the folder of the bundle, not the copy, if files are damaged, and removes the copy', async () => {
  await rm(join(copy, 'rank.onnx'));
  await truncate(join(copy, 'pool.bin'));
  await expect(openPrivateCopy(copy, privateDir)).rejects.toMatchObject({
    reason: 'bundle_invalid',
    message: expect.stringMatching(`^${copy} has 2 problems: pool\\.bin: has 0 bytes.*rank\\.onnx: is missing`),
  });
  expect(await readdir(privateDir)).toEqual([]);
});

it('removes what a killed process left an hour ago, and nothing else', async () => {
  const old = new Date(Date.now() - 3_700_000);
  for (const name of ['.private.old', '.private.new', 'bundle']) {
    await mkdir(join(privateDir, name), { recursive: true });
    await writeFile(join(privateDir, name, 'pool.bin'), 'rows');
    if (name !== '.private.new') await utimes(join(privateDir, name), old, old);
  }
  const { remove } = await openPrivateCopy(copy, privateDir);
  await remove();
  expect((await readdir(privateDir)).sort()).toEqual(['.private.new', 'bundle']);
});

it('names the folder that cannot be written', async () => {
  await writeFile(privateDir, 'a file');
  await expect(openPrivateCopy(copy, privateDir)).rejects.toMatchObject({
    reason: 'dependency_unavailable',
    message: `the folder ${privateDir} cannot be written (ENOTDIR); let this user write there`,
  });
});
