// The folders that become containers: each service starts from its own, as another user who may write nothing there.
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT, runProgram } from './tools.js';
import { STRANGER, startTreeService, type TreeService } from './tree-service.js';

const SERVICES = ['pool', 'user-cache', 'ranking', 'updater', 'console'] as const;
const dir = mkdtempSync(join(tmpdir(), 'ckv-trees-'));
const treeOf = (service: string) => join(dir, 'trees', service);
const wait = { timeout: 60_000 };
let redis: PrivateRedis;
let client: CollectiveKvClient;
const running: Partial<Record<(typeof SERVICES)[number], TreeService>> = {};
/** Every file of the trees with its time, as they were made. */
let made: string[];

beforeAll(async () => {
  chmodSync(dir, 0o755);
  mkdirSync(join(dir, 'trees'));
  await Promise.all([...SERVICES, 'cli'].map((service) => build(service)));
  made = filesIn(join(dir, 'trees'));
  cpSync(join(ROOT, 'bundles/demo'), join(dir, 'bundles'), { recursive: true });
  mkdirSync(join(dir, 'state'));
  chmodSync(join(dir, 'state'), 0o777);
  redis = await startRedis();
  const records = { CKV_REDIS_URL: redis.url };
  const pool = await start('pool', { CKV_BUNDLES_DIR: join(dir, 'bundles'), CKV_STATE_DIR: join(dir, 'state/pool') });
  const userCache = await start('user-cache', records);
  const targets = { CKV_POOL_TARGET: pool.address, CKV_USER_CACHE_TARGET: userCache.address };
  const ranking = { ...records, ...targets, CKV_CACHE_DIR: join(dir, 'state/ranking'), CKV_DRAIN_DELAY_MS: '3000' };
  const updater = { CKV_QUEUE_REDIS_URL: redis.url, ...targets, CKV_CACHE_DIR: join(dir, 'state/updater') };
  const [rankingTarget, interactionTarget] = await Promise.all([start('ranking', ranking), start('updater', updater)]);
  const services = [pool, userCache, rankingTarget, interactionTarget];
  await start('console', {
    ...targets,
    CKV_RANKING_TARGET: rankingTarget.address,
    CKV_QUEUE_REDIS_URL: redis.url,
    CKV_CONSOLE_METRICS: services.map(({ metricsAddress }) => metricsAddress).join(),
  });
  client = createCollectiveKvClient({
    rankingTarget: rankingTarget.address,
    interactionTarget: interactionTarget.address,
    rankTimeoutMs: 10_000,
    recordTimeoutMs: 30_000,
  });
}, 180_000);
afterAll(async () => {
  client?.close();
  for (const service of Object.values(running)) service.child.kill('SIGKILL');
  await redis?.stop();
  for (const path of foldersIn(dir)) chmodSync(path, 0o755);
  rmSync(dir, { recursive: true, force: true });
});

async function build(service: string): Promise<void> {
  await runProgram(process.execPath, [join(ROOT, 'deploy/docker/build-tree.mjs'), service, treeOf(service)]);
  for (const path of foldersIn(treeOf(service))) chmodSync(path, 0o555);
}

function startRedis(port?: number): Promise<PrivateRedis> {
  const dirs = { dir: join(dir, 'redis-server'), dataDir: join(dir, 'redis') };
  return startPrivateRedis({ ...dirs, ...(port === undefined ? {} : { port }) });
}

async function start(service: (typeof SERVICES)[number], env: Readonly<Record<string, string>>): Promise<TreeService> {
  const started = await startTreeService(treeOf(service), service, env);
  running[service] = started;
  return started;
}

function of(service: (typeof SERVICES)[number]): TreeService {
  const found = running[service];
  if (!found) throw new Error(`${service} does not run`);
  return found;
}

const entriesIn = (path: string) => readdirSync(path, { recursive: true, withFileTypes: true });
const foldersIn = (path: string) => [
  path,
  ...entriesIn(path).flatMap((entry) => (entry.isDirectory() ? [join(entry.parentPath, entry.name)] : [])),
];
const filesIn = (path: string) =>
  entriesIn(path)
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => `${file} ${statSync(file).mtimeMs}`)
    .sort();

it('brings an interaction into a record and ranks by it, through services that start from their trees', async () => {
  for (const service of SERVICES) await expect.poll(() => of(service).probe('/readyz'), wait).toBe(200);
  await client.recordInteractions([{ userId: 'u', itemId: 'i0001', action: 'like' }]);
  const positions = async () => (await client.rank({ userId: 'u', candidateIds: ['i0002'] })).info.positionCount;
  await expect.poll(positions, wait).toBe(1);
});

it('serves the page of the console, which reads every service and the queue', async () => {
  const url = `http://${of('console').address}`;
  const page = await (await fetch(url)).text();
  const [, script = 'none'] = /src="\.(\/assets\/[\w-]+\.js)"/.exec(page) ?? [];
  expect((await fetch(`${url}${script}`)).headers.get('content-type')).toContain('javascript');
  const ask = async (name: string, request: object) => {
    const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request) };
    return (await (await fetch(`${url}/api/${name}`, options)).json()) as Record<string, unknown>;
  };
  const seen = async () => ((await ask('fleet', {})).replicas as { service: string }[]).map(({ service }) => service);
  await expect.poll(seen, wait).toEqual(['ranking', 'updater', 'user-cache', 'pool']);
  expect(await ask('user', { userId: 'u' })).toMatchObject({ record: { positionCount: 1 } });
  expect(await ask('score', { userId: 'u', itemIds: ['i0002'] })).toMatchObject({ ranked: [{ itemId: 'i0002' }] });
  expect(await ask('bundles', {})).toMatchObject({ bundles: [{ state: 'active' }] });
  expect(await ask('queue', {})).toMatchObject({ waiting: 0, setAside: 0 });
});

it('leaves out tests, types, other machines, and packages of development', () => {
  const files = made.map((file) => file.split(' ')[0] ?? '');
  expect(files.filter((file) => /\.(test\.js|fixture\.js|d\.ts|map)$/.test(file))).toEqual([]);
  expect(files.filter((file) => /napi-v\d+\/(darwin|win32)\//.test(file))).toEqual([]);
  expect(files.filter((file) => /node_modules\/(typescript|vitest|turbo|@biomejs)\//.test(file))).toEqual([]);
  expect(files.filter((file) => file.startsWith(treeOf('user-cache')) && file.includes('onnxruntime'))).toEqual([]);
});

it('runs the command line from its tree', async () => {
  const { stdout } = await runProgram(process.execPath, ['packages/cli/bin/ckv.js', '--help'], {
    cwd: treeOf('cli'),
    ...STRANGER,
  });
  expect(stdout).toContain('ckv [options]');
});

it('has entry points in the Dockerfile that the trees have', () => {
  const text = readFileSync(join(ROOT, 'deploy/docker/Dockerfile'), 'utf8');
  const entries = [
    ...text.matchAll(/AS ([\w-]+)\nCOPY --from=([\w-]+)-tree \/tree \/app\n(?:.*\n)?ENTRYPOINT \["node", "(.+)"\]/g),
  ];
  expect(entries.map(([, target]) => target).sort()).toEqual([...SERVICES, 'cli'].sort());
  for (const [, target = '', tree, path = ''] of entries) {
    expect(tree).toBe(target);
    expect(statSync(join(treeOf(target), path)).isFile()).toBe(true);
  }
});

it('is alive but not ready while Redis is away, and ready again when it is back', async () => {
  const port = Number(new URL(redis.url).port);
  await redis.kill();
  for (const service of ['user-cache', 'updater'] as const) {
    await expect.poll(() => of(service).probe('/readyz'), wait).toBe(503);
    expect(await of(service).probe('/livez')).toBe(200);
    expect(await of(service).checkHealth()).toBe(1);
  }
  expect(await of('ranking').probe('/readyz')).toBe(200); // it answers without history
  expect(await of('console').probe('/readyz')).toBe(200); // it shows what is away
  expect((await client.rank({ userId: 'u', candidateIds: ['i0002'] })).info.rung).not.toBe('full');
  redis = await startRedis(port);
  for (const service of ['user-cache', 'updater'] as const) {
    await expect.poll(() => of(service).probe('/readyz'), wait).toBe(200);
    expect(await of(service).checkHealth()).toBe(0);
  }
});

it('after SIGTERM is first not ready while it still answers, and then ends with 0', async () => {
  const ranking = of('ranking');
  ranking.child.kill('SIGTERM');
  await expect.poll(() => ranking.probe('/readyz'), { ...wait, interval: 20 }).toBe(503);
  expect((await client.rank({ userId: 'u', candidateIds: ['i0002'] })).ranked).toHaveLength(1);
  expect(await ranking.exited).toBe(0);
  for (const service of ['console', 'updater', 'user-cache', 'pool'] as const) {
    of(service).child.kill('SIGTERM');
    expect(await of(service).exited).toBe(0);
  }
});

it('has changed no file of its tree', () => {
  expect(filesIn(join(dir, 'trees'))).toEqual(made);
});
