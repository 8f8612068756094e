// Services that trust some keys refuse every other bundle, each by itself. The keys rotate as docs/security.md says.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyIdOf, signBundle } from '@collectivekv/bundles';
import { type ServiceProcess, startServiceProcess } from '@collectivekv/dev-stack';
import { bundleIdOf } from '@collectivekv/domain';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { DEMO_BUNDLE, type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

vi.setConfig({ testTimeout: 180_000 }); // a busy machine
const BUSY = { timeout: 60_000 };
const [old, next, stranger] = [makeKey(), makeKey(), makeKey()];
const candidateIds = ['i0001', 'i0002', 'i0003'];

let dir: string;
let demo: string;
let demoId: string;
let trustFile: string;
let e2e: E2eStack;
const started: ServiceProcess[] = [];

interface Key {
  readonly privateKey: KeyObject;
  readonly publicPem: string;
  readonly id: string;
}

function makeKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const publicPem = String(publicKey.export({ type: 'spki', format: 'pem' }));
  return { privateKey, publicPem, id: keyIdOf(publicKey) };
}

const trust = (path: string, ...keys: Key[]) => writeFileSync(path, keys.map(({ publicPem }) => publicPem).join(''));
const logOf = (name: string) => readFileSync(join(e2e.dir, 'logs', `${name}-0.log`), 'utf8');
const countIn = (log: string, text: string) => log.split(text).length - 1;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-signed-'));
  demo = join(dir, 'bundles', 'demo');
  trustFile = join(dir, 'trusted.pem');
  cpSync(DEMO_BUNDLE, demo, { recursive: true });
  const unsigned = join(dir, 'bundles', 'unsigned');
  cpSync(DEMO_BUNDLE, unsigned, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(unsigned, 'bundle.json'), 'utf8'));
  writeFileSync(join(unsigned, 'bundle.json'), JSON.stringify({ ...manifest, name: 'unsigned' }));
  demoId = bundleIdOf(readFileSync(join(demo, 'bundle.json')));
  await signBundle(demo, old.privateKey);
  for (const name of ['bundle.json', 'weights.bin']) cpSync(demo, flippedIn(name), { recursive: true });
  flipManifest(flippedIn('bundle.json'));
  flipBit(join(flippedIn('weights.bin'), 'weights.bin'), 1_000);
  trust(trustFile, old);
  const trusted = { CKV_BUNDLE_TRUST: trustFile };
  e2e = await startE2e({
    bundlesDir: join(dir, 'bundles'),
    env: { pool: { ...trusted, CKV_ACTIVE_BUNDLE: 'demo' }, ranking: trusted, updater: trusted },
  });
});
afterAll(async () => {
  for (const service of started) await service.stop();
  await e2e?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Folder of the demo bundle with a flipped bit in one of its files. */
const flippedIn = (name: string) => join(dir, 'flipped', name);

function flipBit(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(path, bytes);
}

/** Flips a bit of the name in a signed manifest. The signature file then names the new id, as an attacker would. */
function flipManifest(folder: string): void {
  const path = join(folder, 'bundle.json');
  flipBit(path, readFileSync(path).indexOf('"demo"') + 1);
  const signatures = JSON.parse(readFileSync(`${path}.sig`, 'utf8'));
  writeFileSync(`${path}.sig`, JSON.stringify({ ...signatures, bundleId: bundleIdOf(readFileSync(path)) }));
}

/** Starts a service beside those of the stack, which trusts one key alone. */
async function startApart(name: 'pool' | 'ranking' | 'updater', trusted: Key, env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(dir, `${name}-`));
  const own = join(folder, 'trusted.pem');
  const logFile = join(folder, 'log');
  trust(own, trusted);
  const { redisUrl, targets } = e2e.stack;
  const service = await startServiceProcess({
    name,
    logFile,
    env: {
      CKV_BIND: '127.0.0.1:0',
      CKV_BUNDLE_TRUST: own,
      CKV_BUNDLES_DIR: demo,
      CKV_STATE_DIR: folder,
      CKV_CACHE_DIR: folder,
      CKV_POOL_TARGET: targets.pool,
      CKV_USER_CACHE_TARGET: targets['user-cache'],
      CKV_REDIS_URL: redisUrl,
      ...env,
    },
  });
  started.push(service);
  return { service, own, log: () => readFileSync(logFile, 'utf8') };
}

const contentRefusal = `does not have the content that ${old.id} signed`;
const refusalOf = ({ id }: Key) => `is signed by ${old.id}, but CKV_BUNDLE_TRUST has ${id}; sign it with`;

it('serves the bundle that a trusted key signed, and the pool leaves the unsigned one out', async () => {
  await e2e.client.recordInteractions(interactionsOf('u', 30));
  await e2e.untilApplied('u', 30);
  const { info } = await e2e.client.rank({ userId: 'u', candidateIds, history: 'required' });
  expect(info).toMatchObject({ bundleId: demoId, positionCount: 30 });
  expect((await e2e.pool.call('Describe', {})).loadedBundleIds).toEqual([demoId]);
  expect(logOf('pool')).toMatch(/bundle [0-9a-f]{16} in [^ ]*\/unsigned is not signed; sign it with/);
});

it('no pool starts with a bundle that a stranger signed', async () => {
  await expect(startApart('pool', stranger)).rejects.toThrow(
    new RegExp(`pool cannot start: bundle ${demoId} in ${demo} ${refusalOf(stranger)}`),
  );
});

it.each(['ranking', 'updater'] as const)(
  '%s takes no such bundle from the pool, until its key is trusted',
  async (name) => {
    const { service, own, log } = await startApart(name, stranger);
    // It tries again, and has not fetched the bundle in between.
    await expect
      .poll(() => countIn(log(), `bundle ${demoId} of the pool ${refusalOf(stranger)}`), BUSY)
      .toBeGreaterThan(1);
    expect(log()).not.toContain('bundle loaded');
    if (name === 'ranking') expect((await fetch(`http://${service.metricsAddress}/readyz`)).status).toBe(503);
    trust(own, stranger, old);
    await expect.poll(log, BUSY).toContain('bundle active');
  },
);

it('no pool starts with a bundle with a bit flipped since it was signed', async () => {
  const startWith = (name: string) => startApart('pool', old, { CKV_BUNDLES_DIR: flippedIn(name) });
  await expect(startWith('bundle.json')).rejects.toThrow(contentRefusal);
  await expect(startWith('weights.bin')).rejects.toThrow('weights.bin: its sha256 differs from the one in bundle.json');
});

it.each(['ranking', 'updater'] as const)(
  '%s takes no bundle with a flipped bit from a pool that trusts all',
  async (name) => {
    const trustingAll = { CKV_BUNDLE_TRUST: '', CKV_BUNDLES_DIR: flippedIn('bundle.json') };
    const { service: pool } = await startApart('pool', old, trustingAll);
    const { service, log } = await startApart(name, old, { CKV_POOL_TARGET: pool.address });
    await expect.poll(() => countIn(log(), contentRefusal), BUSY).toBeGreaterThan(1);
    expect(log()).not.toContain('bundle loaded');
    if (name === 'ranking') expect((await fetch(`http://${service.metricsAddress}/readyz`)).status).toBe(503);
  },
);

it('rotates the key: both are trusted, the bundle is signed again, the former is taken out', async () => {
  trust(trustFile, old, next);
  const services = ['pool', 'ranking', 'updater'] as const;
  const used = (times: number) => services.every((name) => countIn(logOf(name), 'a changed file is used') === times);
  await expect.poll(() => used(1), BUSY).toBe(true);
  await signBundle(demo, next.privateKey);
  trust(trustFile, next);
  await expect.poll(() => used(2), BUSY).toBe(true);
  for (const name of services) {
    const [service] = e2e.stack.services[name];
    await service?.kill();
    await service?.restart();
  }
  for (const name of services) await e2e.stack.services[name][0]?.untilReady();
  const { info } = await e2e.client.rank({ userId: 'u', candidateIds, history: 'required' });
  expect(info).toMatchObject({ bundleId: demoId, positionCount: 30 });
  await expect.poll(() => countIn(logOf('updater'), 'bundle active'), BUSY).toBe(2);
});
