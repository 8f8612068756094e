// Bundle files are damaged while services run, and before they start.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleIdOf } from '@collectivekv/domain';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEMO_BUNDLE, type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let dir: string;
let bundlesDir: string;
let e2e: E2eStack;
const candidateIds = ['i0001', 'i0002', 'i0003'];
const rank = () => e2e.client.rank({ userId: 'u', candidateIds, history: 'required' });

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-damaged-'));
  bundlesDir = join(dir, 'bundles');
  for (const name of ['demo', 'broken']) cpSync(DEMO_BUNDLE, join(bundlesDir, name), { recursive: true });
  rename('broken', 'broken');
  truncateSync(join(bundlesDir, 'broken', 'pool.bin'), 1_000);
  const cacheOf = (name: string) => ({ CKV_CACHE_DIR: join(dir, 'cache', name) });
  e2e = await startE2e({
    bundlesDir,
    env: { pool: { CKV_ACTIVE_BUNDLE: 'demo' }, ranking: cacheOf('ranking'), updater: cacheOf('updater') },
  });
});
afterAll(async () => {
  await e2e?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Gives a bundle another name, and so another id. */
function rename(folder: string, name: string): string {
  const path = join(bundlesDir, folder, 'bundle.json');
  const bytes = Buffer.from(JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), name }));
  writeFileSync(path, bytes);
  return bundleIdOf(bytes);
}

/** Empties every file of a folder. */
function emptyFiles(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) truncateSync(join(entry.parentPath, entry.name), 0);
  }
}

it('starts although one bundle is damaged, and serves the others', async () => {
  await e2e.client.recordInteractions(interactionsOf('u', 30));
  await e2e.untilApplied('u', 30);
  expect((await rank()).info.positionCount).toBe(30);
});

it('serves on although the files of the running bundle are emptied in every folder', async () => {
  const before = await rank();
  const processes = Object.values(e2e.stack.services).flat();
  const pids = processes.map(({ pid }) => pid);
  const { model } = e2e.bundle;
  emptyFiles(join(dir, 'cache'));
  mkdirSync(join(dir, 'kept'));
  cpSync(join(bundlesDir, 'demo'), join(dir, 'kept', 'demo'), { recursive: true });
  emptyFiles(join(bundlesDir, 'demo'));

  expect((await rank()).scores).toEqual(before.scores);
  await e2e.client.recordInteractions(interactionsOf('u', 5, 30));
  await e2e.expectRows(await e2e.untilApplied('u', 35), interactionsOf('u', 35));
  const [group] = model.manifest.groups;
  const slots = Buffer.from(Uint32Array.of(0, (group?.pool.slots ?? 1) - 1).buffer);
  await e2e.pool.call('Gather', { keySlots: slots });
  expect(processes.map(({ pid }) => pid)).toEqual(pids);

  cpSync(join(dir, 'kept', 'demo'), join(bundlesDir, 'demo'), { recursive: true });
});

it('fetches a damaged bundle again at the next start', async () => {
  const [ranking] = e2e.stack.services.ranking;
  await ranking?.kill();
  await ranking?.restart();
  await ranking?.untilReady();
  expect((await rank()).info.positionCount).toBe(35);
});
