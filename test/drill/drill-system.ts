import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import { type Stack, startStack } from '@collectivekv/dev-stack';
import { type BundleStatus, bundleStatus } from '@collectivekv/operations';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createGrpcClient } from '@collectivekv/rpc';
import { type Backends, DEFAULT_WRITES, startBackends } from '@collectivekv/test-chaos/load/backends';
import { openDoors } from '@collectivekv/test-chaos/load/doors';
import { createReference, type Reference } from '@collectivekv/test-chaos/oracle/reference';
import type { Random } from '@collectivekv/test-chaos/random';
import { type Ckv, ckvOf } from './ckv.js';
import { createDrillFeed } from './feed.js';
import { createDrillOracle, type DrillOracle } from './oracle.js';
import { createPhaseLog, type PhaseLog } from './phase-log.js';
import { type RankLoad, startRankLoad } from './rank-load.js';
import { createSeenSteps } from './seen-steps.js';
import { BUNDLE_NAMES } from './train.js';

/** A system that serves v1, two replicas of each service, under load. */
export interface DrillSystem {
  /** Folder of everything that is written. */
  readonly dir: string;
  readonly stack: Stack;
  readonly redis: RedisClient;
  readonly ckv: Ckv;
  /** Returns what `ckv bundle status` prints, for a look many times a second: commands would take a whole core. */
  status(): Promise<BundleStatus[]>;
  /** A client of each ranking replica alone. */
  readonly probes: readonly CollectiveKvClient[];
  readonly bundles: { readonly v1: Reference; readonly v2: Reference; readonly v3: Reference };
  readonly phases: PhaseLog;
  readonly oracle: DrillOracle;
  readonly backends: Backends;
  readonly ranks: RankLoad;
  /** Copies a bundle folder to the pools. */
  publish(folder: string, as: string): Promise<void>;
  setInteractionsPerSecond(rate: number): void;
  close(): Promise<void>;
}

/** Options of {@link startDrillSystem}. */
export interface DrillSystemOptions {
  readonly users: number;
  readonly interactionsPerSecond: number;
  readonly ranksPerSecond: number;
  /** Most interactions a second that an updater backfills. */
  readonly backfillRate: number;
  /** Folder with the bundles v1, v2 and v3. */
  readonly bundlesFrom: string;
  readonly firstPhase: string;
  readonly random: Random;
}

/** No request fails because the machine is busy: times are reported, not judged. */
const RANK_TIMEOUT_MS = 30_000;

/** Starts the system and its load. */
export async function startDrillSystem(options: DrillSystemOptions): Promise<DrillSystem> {
  const { users, interactionsPerSecond, ranksPerSecond, backfillRate, bundlesFrom, firstPhase, random } = options;
  const dir = await mkdtemp(join(tmpdir(), 'ckv-drill-'));
  const closing: (() => unknown)[] = [() => rm(dir, { recursive: true, force: true })];
  const close = async () => {
    for (const one of closing.splice(0).reverse()) await one();
  };
  try {
    return await start();
  } catch (error) {
    await close();
    throw error;
  }

  async function start(): Promise<DrillSystem> {
    const bundlesDir = join(dir, 'bundles');
    const publish = (folder: string, as: string) => cp(folder, join(bundlesDir, as), { recursive: true });
    await mkdir(bundlesDir);
    await publish(join(bundlesFrom, 'v1'), 'v1');
    const references = await Promise.all(BUNDLE_NAMES.map((name) => createReference(join(bundlesFrom, name))));
    closing.push(() => Promise.all(references.map((reference) => reference.close())));
    const [v1, v2, v3] = references as [Reference, Reference, Reference];

    const stack = await startStack({
      dir: join(dir, 'stack'),
      bundlesDir,
      expectDeaths: true,
      fsync: 'always',
      replicas: { pool: 2, 'user-cache': 2, ranking: 2, updater: 2 },
      env: {
        // On a busy machine a record may take longer than the default, and the answer would leave it out.
        ranking: { CKV_COVERAGE_RATE: '1000', CKV_FETCH_TIMEOUT_MS: '2000' },
        updater: { CKV_BACKFILL_RATE: String(backfillRate) },
      },
    });
    closing.push(() => stack.stop());
    const redis = await connectedRedis(stack.redisUrl, { field: 'url', name: 'drill-oracle', whenAway: 'wait' });
    closing.push(() => closeRedis(redis));
    const doors = await openDoors({
      ...stack.targets,
      queueUrl: stack.redisUrl,
      confirmReplicas: 0,
      rankTimeoutMs: RANK_TIMEOUT_MS,
    });
    closing.push(() => doors.close());
    const probes = stack.services.ranking.map(({ address }) =>
      createCollectiveKvClient({ rankingTarget: address, rankTimeoutMs: 5_000, maxAttempts: 10 }),
    );
    closing.push(() => probes.map((probe) => probe.close()));
    const pool = createGrpcClient('PoolService', stack.targets.pool);
    closing.push(() => pool.close());

    const feed = createDrillFeed();
    const phases = createPhaseLog();
    const seen = createSeenSteps();
    phases.begin(firstPhase);
    const load = {
      ...DEFAULT_WRITES,
      forgets: 0,
      usersPerBackend: Math.ceil(users / DEFAULT_WRITES.backendCount),
      userLife: [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] as const,
      interactionsPerSecond,
    };
    const backends = startBackends({
      doors,
      interactionsOf: feed.interactionsOf,
      rules: { maxPositions: v1.bundle.model.manifest.maxPositions, forgetsByEventOnly: false },
      load,
      random: random.fork('writes'),
      prefix: 'drill',
    });
    closing.push(() => backends.stop());
    const oracle = createDrillOracle({ references, reader: redis, backends, seen });
    const ranks = startRankLoad({
      client: doors.client,
      feed,
      users: backends.current,
      random: random.fork('ranks'),
      ratePerS: ranksPerSecond,
      phases,
      seen,
      onAnswer: oracle.answered,
    });
    closing.push(() => ranks.stop());
    return {
      dir,
      stack,
      redis,
      ckv: ckvOf(stack),
      status: () => bundleStatus({ pool: () => pool }),
      probes,
      bundles: { v1, v2, v3 },
      phases,
      oracle,
      backends,
      ranks,
      publish,
      setInteractionsPerSecond(rate) {
        load.interactionsPerSecond = rate;
      },
      close,
    };
  }
}
