import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createRedisUserStore, type UserStore } from '@collectivekv/user-store';
import { type Arm, type ArmOptions, startArm, WORKERS } from './arms.js';
import { type BenchBundleName, type BenchBundleOptions, benchBundle } from './bench-bundles.js';
import { type BareGraph, startBareGraph } from './children.js';
import type { Baseline, BenchOptions } from './options.js';
import { warmUp } from './rank-loops.js';
import type { Params, Row } from './results.js';
import { CANDIDATES } from './workload.js';

/** The shared state of a run's parts. */
export interface Bench {
  readonly options: BenchOptions;
  readonly redisUrl: string;
  readonly redis: RedisClient;
  /** The user records of all arms. */
  readonly store: UserStore;
  /** CollectiveKV, with an updater. */
  readonly ours: Arm;
  /** The graph of `ours` alone, once for each worker of ranking. */
  readonly bare: readonly [BareGraph, ...BareGraph[]];
  /** Returns a baseline's arm. The first call starts it. */
  arm(name: Baseline): Promise<Arm>;
  /** Starts another arm. The caller closes it. `ranking` has the environment variables that differ from the defaults. */
  startArm(name: string, bundleDir: string, ranking?: Readonly<Record<string, string>>): Promise<Arm>;
  /** Closes baselines that no later part needs. Idle processes take processor time, too. */
  retire(names: readonly Baseline[]): Promise<void>;
  bundle(name: BenchBundleName, options?: BenchBundleOptions): string;
  /** Adds a figure to the results. */
  add(name: string, params: Params, value: number, unit?: string, target?: string): void;
  /** Prints the current activity. */
  progress(text: string): void;
  readonly rows: readonly Row[];
  /** Folder of all files of the run, such as the services' logs. `close` deletes it unless `keepDir` is set. */
  readonly dir: string;
  close(options?: { keepDir: boolean }): Promise<void>;
}

/** Longest history of the baselines. At 50,000 positions their records would have 100 MB. */
export const BASELINE_POSITIONS = 10_000;
const WARM_UP_POSITIONS = 1_000;
/** Prefix of all keys in Redis. */
export const KEY_PREFIX = 'ckv';

/** Makes the bundles, and starts Redis, our services and the bare graphs. */
export async function startBench(options: BenchOptions): Promise<Bench> {
  const begunMs = performance.now();
  const progress = (text: string) => {
    const seconds = Math.round((performance.now() - begunMs) / 1_000);
    console.log(`[${String(seconds).padStart(3)} s] ${text}`);
  };
  const rows: Row[] = [];
  const closing: (() => unknown)[] = [];
  const dir = mkdtempSync(join(tmpdir(), 'ckv-bench-'));
  const removeDir = () => rmSync(dir, { recursive: true, force: true });
  process.once('exit', removeDir); // also after an interrupt
  const close = async ({ keepDir = false } = {}) => {
    for (const end of closing.splice(0).reverse()) await end();
    process.off('exit', removeDir);
    if (!keepDir) removeDir();
  };
  try {
    return await start();
  } catch (error) {
    await close();
    throw error;
  }

  async function start(): Promise<Bench> {
    progress('making bundles');
    const bundle = (name: BenchBundleName, bundleOptions: BenchBundleOptions = {}) =>
      benchBundle(name, { ...bundleOptions, python: options.python });
    const shared = bundle('shared');
    const server = await startPrivateRedis({ dir: '.ckv/redis-server', dataDir: join(dir, 'redis') });
    closing.push(server.stop);
    const redis = await connectedRedis(server.url, { field: 'url', name: 'bench', whenAway: 'wait' });
    closing.push(() => closeRedis(redis));
    const store = createRedisUserStore({ client: redis, keyPrefix: KEY_PREFIX, recordTtlS: 86_400 });
    const startWith = async (
      name: string,
      bundleDir: string,
      longest: number,
      more: Pick<ArmOptions, 'updaters' | 'ranking'> = {},
    ) => {
      progress(`starting ${name}`);
      const arm = await startArm({ name, bundleDir, dir, redisUrl: server.url, store, longest, ...more });
      try {
        await warmUp(arm, { positions: Math.min(longest, WARM_UP_POSITIONS), candidates: CANDIDATES }, options.warmUp);
      } catch (error) {
        await arm.close();
        throw error;
      }
      return arm;
    };
    const ours = await startWith('ours', shared, Math.max(...options.lengths), { updaters: 1 });
    closing.push(ours.close);
    const [first, ...others] = await Promise.all(Array.from({ length: WORKERS }, () => startBareGraph(shared)));
    if (!first) throw new Error('there is no bare graph');
    closing.push(() => [first, ...others].map((one) => one.close()));
    const arms = new Map<Baseline, Promise<Arm>>();
    closing.push(() => Promise.all([...arms.values()].map(async (arm) => (await arm).close())));

    return {
      options,
      redisUrl: server.url,
      redis,
      store,
      ours,
      bare: [first, ...others],
      arm(name) {
        const started = arms.get(name) ?? startWith(name, bundle(name), BASELINE_POSITIONS);
        arms.set(name, started);
        return started;
      },
      async retire(names) {
        for (const name of names) {
          const arm = await arms.get(name);
          arms.delete(name);
          await arm?.close();
        }
      },
      startArm: (name, bundleDir, ranking = {}) =>
        startWith(name, bundleDir, Math.max(...options.lengths), { ranking }),
      bundle,
      add(name, params, value, unit = '', target = '') {
        rows.push({ name, params, value, unit, target });
        const about = Object.entries(params).map(([key, given]) => `${key} ${given}`);
        progress(`  ${name} (${about.join(', ')}): ${value.toPrecision(4)} ${unit}${target && ` target ${target}`}`);
      },
      progress,
      rows,
      dir,
      close,
    };
  }
}
