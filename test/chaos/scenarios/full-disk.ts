import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceProcess, startServiceProcess } from '@collectivekv/dev-stack';
import { type SmallDisk, smallDisk } from '../faults/small-disk.js';
import { type BundleCopies, withPool, writeBundleCopies } from '../fleet/bundle-copies.js';
import type { FleetSpec } from '../fleet/fleet.js';
import type { RedisForm } from '../fleet/redis-form.js';
import { startOwnServer } from '../fleet/redis-node.js';
import type { Arena, Scenario } from '../scenario.js';

const DISK_MB = 64;
/** How long the disk is full, ms. */
const FULL_MS = 4_000;

let disk: SmallDisk | undefined;
let bundles: BundleCopies | undefined;

/**
 * Redis on the small disk. With `always`, a Redis that cannot write its file ends; with `everysec`, it refuses writes.
 */
const redis: RedisForm = {
  about: 'one server, appendfsync everysec, on a small disk',
  async start(dir) {
    disk = await smallDisk(join(dir, 'disk'), DISK_MB);
    bundles = await writeBundleCopies(join(dir, 'bundles'));
    const dataDir = join(disk?.path ?? dir, 'redis');
    const server = await startOwnServer('redis', { dir: `${dir}/server`, dataDir, fsync: 'everysec' });
    return {
      url: server.url,
      port: server.port,
      nodes: [server],
      async stop() {
        await server.stop();
        await disk?.remove();
      },
    };
  },
};

/** Puts the cache of every service, and the state of the pool, on the small disk. */
const startProcess: NonNullable<FleetSpec['startProcess']> = async (options, replica) => {
  if (!disk) return startServiceProcess(options);
  const own = join(disk.path, `${options.name}-${replica}`);
  const ofPool = options.name === 'pool' ? { ...bundles?.env, CKV_STATE_DIR: join(own, 'state') } : {};
  await mkdir(own, { recursive: true });
  return startServiceProcess({ ...options, env: { ...options.env, CKV_CACHE_DIR: join(own, 'cache'), ...ofPool } });
};

/** Fills the disk, works on it, and frees it. */
async function whileFull(work: () => Promise<void>): Promise<void> {
  await disk?.fill();
  try {
    await work();
  } finally {
    await disk?.free();
  }
}

/** Restarts a service without a cache while the disk is full. It becomes ready after the disk is freed. */
async function restartedEmpty(service: ServiceProcess, folder: string): Promise<void> {
  await service.kill();
  await rm(join(disk?.path ?? '', folder, 'cache'), { recursive: true, force: true });
  await whileFull(async () => {
    await service.restart();
    await sleep(FULL_MS);
  });
  await service.untilReady();
}

/** Tries to activate the other bundle while the disk is full. The pool must refuse, and stay as it was. */
async function activateInVain({ fleet, backends }: Arena): Promise<void> {
  await backends.untilAccepted(100);
  await withPool(fleet.services.pool[0], async (pool) => {
    await whileFull(async () => {
      const outcome = await pool.call('Activate', { bundleId: bundles?.ids.other ?? '', force: true }).then(
        () => 'the bundle was activated',
        ({ message }: Error) => message,
      );
      if (!/the disk is full/.test(outcome)) throw new Error(`activated on a full disk: ${outcome}`);
    });
    const { bundleId } = await pool.call('Describe', {});
    if (bundleId !== bundles?.ids.demo) throw new Error('the active bundle has changed');
  });
}

/** The disk of Redis, of the bundle caches and of the pool's state is full. */
export const fullDisk: Scenario = {
  name: 'full-disk',
  about: 'The disk of Redis, of the caches and of the pool is full, and has room again.',
  fleet: { redis, startProcess },
  async run(arena) {
    const { fleet, random, backends, fault } = arena;
    if (!disk) {
      console.log('    left out: a small disk needs Linux and root');
      return;
    }
    for (const name of ['ranking', 'updater'] as const) {
      const i = random.whole(0, 1);
      const service = fleet.services[name][i];
      if (!service) continue;
      await fault(`${name} ${i} starts without a bundle on a full disk`, async () => {
        await backends.untilAccepted(100);
        await restartedEmpty(service, `${name}-${i}`);
      });
    }
    await fault('Redis cannot write its append-only file', async () => {
      await backends.untilAccepted(200);
      await whileFull(() => sleep(FULL_MS));
    });
    await fault('a bundle is activated on a full disk', () => activateInVain(arena));
  },
};
