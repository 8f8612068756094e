import { appendFile, cp, readdir, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceProcess, startServiceProcess } from '@collectivekv/dev-stack';
import { HOP_FAULTS } from '../faults/hop-faults.js';
import { killed } from '../faults/process-faults.js';
import { type BundleCopies, withPool, writeBundleCopies } from '../fleet/bundle-copies.js';
import type { FleetSpec } from '../fleet/fleet.js';
import type { RedisForm } from '../fleet/redis-form.js';
import { singleRedis } from '../fleet/redis-form.js';
import type { Arena, Scenario } from '../scenario.js';

let bundles: BundleCopies | undefined;
const single = singleRedis('always');

/** Also writes the bundles, since Redis starts first. */
const redis: RedisForm = {
  about: single.about,
  async start(dir) {
    bundles = await writeBundleCopies(join(dir, 'bundles'));
    return single.start(dir);
  },
};

const startProcess: NonNullable<FleetSpec['startProcess']> = (options) =>
  startServiceProcess(options.name === 'pool' ? { ...options, env: { ...options.env, ...bundles?.env } } : options);

/** What can happen to the files of a folder. */
const DAMAGES = {
  truncated: (path: string) => truncate(path, 0),
  altered: (path: string) => appendFile(path, 'x'),
  removed: (path: string) => rm(path),
} as const;

async function damage(folder: string, kind: keyof typeof DAMAGES): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    // A file may vanish meanwhile: a load removes its private copy.
    if (entry.isFile()) await DAMAGES[kind](join(entry.parentPath, entry.name)).catch(() => undefined);
  }
}

/** Damages the cached bundle of a running service, which goes on, and fetches the bundle again when it restarts. */
async function damageCache({ fleet, backends }: Arena, service: ServiceProcess, i: number, kind: keyof typeof DAMAGES) {
  await backends.untilAccepted(100);
  await damage(join(fleet.dir, 'cache', `${service.name}-${i}`), kind);
  await backends.untilAccepted(150);
  const ended = await Promise.race([service.exited.then(() => true), sleep(0, false)]);
  if (ended) throw new Error(`${service.name} has ended after its cache was damaged`);
  await killed(service);
}

/** Damages the pool's folder. The running pool goes on. A pool that starts on it must refuse; then the folder is repaired. */
async function damagePool({ fleet, backends }: Arena, kind: keyof typeof DAMAGES): Promise<void> {
  const [pool] = fleet.services.pool;
  const path = bundles?.path ?? '';
  await cp(path, `${path}-kept`, { recursive: true });
  await backends.untilAccepted(100);
  await damage(join(path, 'demo'), kind);
  await backends.untilAccepted(150);
  await pool?.kill();
  const outcome = await pool?.restart().then(
    () => 'started',
    () => 'refused',
  );
  if (outcome !== 'refused') throw new Error('the pool has started on a damaged bundle');
  await backends.untilAccepted(100);
  await cp(`${path}-kept`, path, { recursive: true });
  await rm(`${path}-kept`, { recursive: true });
  await pool?.restart();
  await pool?.untilReady();
}

/** Switches to another bundle and back while services cannot fetch it at first. */
async function switchBundles({ fleet, backends }: Arena, to: 'twin' | 'other'): Promise<void> {
  const [pool] = fleet.services.pool;
  const ways = [...fleet.hops.of('ranking-pool'), ...fleet.hops.of('updater-pool')];
  await backends.untilAccepted(100);
  const cuts = ways.map(({ pipe }) => HOP_FAULTS.cut(pipe, 2_000));
  await withPool(pool, (client) => client.call('Activate', { bundleId: bundles?.ids[to] ?? '', force: true }));
  await Promise.all(cuts);
  await backends.untilAccepted(500);
  await sleep(1_000);
  await withPool(pool, (client) => client.call('Rollback', {}));
  await backends.untilAccepted(300);
}

/** Bundle files are damaged under load, and the active bundle changes. */
export const bundleFiles: Scenario = {
  name: 'bundles',
  about: 'Bundle files are truncated, altered or removed while services run, and the active bundle changes.',
  fleet: { redis, startProcess },
  async run(arena) {
    const { fleet, random, fault } = arena;
    const kinds = Object.keys(DAMAGES) as (keyof typeof DAMAGES)[];
    for (const kind of random.shuffle(kinds)) {
      for (const name of ['ranking', 'updater'] as const) {
        const i = random.whole(0, 1);
        const service = fleet.services[name][i];
        if (!service) continue;
        await fault(`the cache of ${name} ${i} is ${kind}`, () => damageCache(arena, service, i, kind));
      }
      await fault(`the active bundle of the pool is ${kind}`, () => damagePool(arena, kind));
    }
    for (const to of random.shuffle(['twin', 'other'] as const)) {
      await fault(`the active bundle changes to the ${to} one, and back`, () => switchBundles(arena, to));
    }
  },
};
