import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBundle } from '@collectivekv/bundles';
import { startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createRedisUserStore, type UserStore } from '@collectivekv/user-store';
import { type Arm, type ArmOptions, startArm, usersAt, WORKERS } from './arms.js';
import { type BenchBundleName, type BenchBundleOptions, benchBundle, POOL_SLOTS } from './bench-bundles.js';
import { type BareGraph, startBareGraph } from './children.js';
import type { Baseline, BenchOptions } from './options.js';
import { warmUp } from './rank-loops.js';
import { type RealLog, readRealLog } from './real-log.js';
import type { Params, Row, UsedBundle } from './results.js';
import { RECOMMENDED, type TrainedBundleName, trainedBundles } from './trained-bundles.js';
import { type BenchBundle, CANDIDATES, randomHistories, realHistories } from './workload.js';

/** The shared state of a run's parts. */
export interface Bench {
  readonly options: BenchOptions;
  readonly redisUrl: string;
  readonly redis: RedisClient;
  /** The user records of all arms. */
  readonly store: UserStore;
  /** The recommended bundle, with an updater. */
  readonly ours: Arm;
  /** The graph of `ours` alone, once for each worker of ranking. */
  readonly bare: readonly [BareGraph, ...BareGraph[]];
  /** Returns the histories of this length that `ours` holds. */
  histories(positions: number): Promise<readonly Uint8Array[]>;
  /** The log that the model was trained on. */
  readonly log: RealLog;
  /** Returns a baseline's arm. The first call starts it. */
  arm(name: Baseline): Promise<Arm>;
  /**
   * Starts another arm. The caller closes it. `ranking` has the environment variables that differ from the defaults.
   */
  startArm(
    name: string,
    bundle: BenchBundle,
    ranking?: Readonly<Record<string, string>>,
    more?: Pick<ArmOptions, 'bundlesDir' | 'pool'>,
  ): Promise<Arm>;
  /** Closes baselines that no later part needs. Idle processes take processor time, too. */
  retire(names: readonly Baseline[]): Promise<void>;
  /** Returns a bundle of the trained model. */
  trained(name: TrainedBundleName): BenchBundle;
  /** Returns a bundle with random weights. */
  random(name: BenchBundleName, options?: BenchBundleOptions): BenchBundle;
  /** Returns all bundles that the run has asked for. */
  usedBundles(): Promise<UsedBundle[]>;
  /** Adds a figure to the results. */
  add(name: string, params: Params, value: number, unit?: string, target?: string): void;
  /** Prints the current activity. */
  progress(text: string): void;
  readonly rows: readonly Row[];
  /** Folder of all files of the run, such as the services' logs. `close` deletes it unless `keepDir` is set. */
  readonly dir: string;
  close(options?: { keepDir: boolean }): Promise<void>;
}

const WARM_UP = { positions: 1_000, candidates: CANDIDATES };
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
    const bundles = trainedBundles(options);
    const { model } = await openBundle(bundles.dir(RECOMMENDED));
    const log = await readRealLog(
      bundles.log,
      model.manifest.features.interaction.map(({ name }) => name),
    );
    const used = new Map<string, { dir: string; trainedOn?: string }>();
    const trained = (name: TrainedBundleName) => {
      const made = bundles.dir(name);
      used.set(name, { dir: made, trainedOn: bundles.trainedOn });
      return { dir: made, histories: realHistories(made, log) };
    };
    const server = await startPrivateRedis({ dir: '.ckv/redis-server', dataDir: join(dir, 'redis') });
    closing.push(server.stop);
    const redis = await connectedRedis(server.url, { field: 'url', name: 'bench', whenAway: 'wait' });
    closing.push(() => closeRedis(redis));
    const store = createRedisUserStore({ client: redis, keyPrefix: KEY_PREFIX, recordTtlS: 86_400 });
    const startWith = async (
      name: string,
      bundle: BenchBundle,
      more: Pick<ArmOptions, 'updaters' | 'ranking' | 'bundlesDir' | 'pool'> = {},
    ) => {
      progress(`starting ${name}`);
      const arm = await startArm({ name, bundle, dir, redisUrl: server.url, store, ...more });
      try {
        await warmUp(arm, WARM_UP, options.warmUp);
      } catch (error) {
        await arm.close();
        throw error;
      }
      return arm;
    };
    const ours = await startWith(RECOMMENDED, trained(RECOMMENDED), { updaters: 1 });
    closing.push(ours.close);
    const [first, ...others] = await Promise.all(
      Array.from({ length: WORKERS }, () => startBareGraph(bundles.dir(RECOMMENDED))),
    );
    if (!first) throw new Error('there is no bare graph');
    closing.push(() => [first, ...others].map((one) => one.close()));
    const held = new Map<number, Promise<readonly Uint8Array[]>>();
    const arms = new Map<Baseline, Promise<Arm>>();
    closing.push(() => Promise.all([...arms.values()].map(async (arm) => (await arm).close())));

    return {
      options,
      redisUrl: server.url,
      redis,
      store,
      ours,
      bare: [first, ...others],
      histories(positions) {
        const known =
          held.get(positions) ??
          trained(RECOMMENDED).histories(positions, usersAt(positions, ours.model.layout.strideBytes));
        held.set(positions, known);
        return known;
      },
      log,
      arm(name) {
        const started = arms.get(name) ?? startWith(name, trained(name));
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
      startArm: (name, bundle, ranking = {}, more = {}) => startWith(name, bundle, { ranking, ...more }),
      trained,
      random(name, bundleOptions = {}) {
        const made = benchBundle(name, { ...bundleOptions, python: options.python });
        used.set(name === 'shared' ? `shared, ${bundleOptions.slots ?? POOL_SLOTS} slots` : name, { dir: made });
        return { dir: made, histories: randomHistories(made) };
      },
      usedBundles: () =>
        Promise.all(
          [...used].map(async ([name, { dir: made, trainedOn }]) => ({
            name,
            id: (await openBundle(made)).model.id,
            trainedOn,
          })),
        ),
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
