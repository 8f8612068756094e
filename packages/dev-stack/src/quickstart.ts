import { mkdir, readdir, realpath, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBundle } from '@collectivekv/bundles';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import type { StatsResponse__Output } from '@collectivekv/contracts';
import { fullKvBytes, steadyNowMs } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { areaUnderCurve, quantile, type Scored } from './auc.js';
import { orAborted } from './or-aborted.js';
import { type QuickstartFeed, type RankCase, replayedFeed, simulatedFeed } from './quickstart-feed.js';
import { residentMb } from './resident-mb.js';
import { type Stack, startStack } from './stack.js';
import type { Summary } from './summary.js';

/** Options of {@link runQuickstart}. */
export interface QuickstartOptions {
  /** Folder of all files that are written. */
  readonly dir: string;
  readonly bundleDir: string;
  readonly redisUrl?: string | undefined;
  /** Variables for TLS to this Redis. */
  readonly redisTls?: Readonly<Record<string, string>>;
  /** An interaction log to replay; default: a simulated feed. */
  readonly dataFile?: string | undefined;
  /** Our column name -> the file's column name. */
  readonly columns?: Readonly<Record<string, string>>;
  /** Number of simulated users. */
  readonly users: number;
  /** Exposures of each simulated user. */
  readonly positions: number;
  /** Rank requests of the live phase. */
  readonly rankRequests: number;
  /** Ends the run early when it aborts. */
  readonly signal?: AbortSignal;
  /** Receives progress messages. With `update`, a message replaces the previous message. */
  readonly onProgress: (message: string, update?: boolean) => void;
}

/** A finished run. The stack is still running. */
export interface QuickstartRun {
  readonly stack: Stack;
  readonly summary: Summary;
  /** Descriptions of failures; empty if everything worked. */
  readonly problems: readonly string[];
  /** A request that the bundle and the records can answer. */
  readonly example: RankCase;
}

const SEED = 1; // the world in which the demo bundle was trained
const FRESHNESS_TIMEOUT_MS = 10_000;
const STALL_MS = 60_000;

/**
 * Starts a stack, streams a feed through queue and updater, ranks live, and summarises.
 * @throws Error if a process ends or no interaction arrives for a minute; the reason of `signal`. Nothing that was
 * started is left then
 */
export async function runQuickstart(options: QuickstartOptions): Promise<QuickstartRun> {
  const { onProgress, signal } = options;
  const { model } = await openBundle(options.bundleDir);
  const feed =
    options.dataFile === undefined
      ? simulatedFeed({ seed: SEED, users: options.users, positions: options.positions })
      : replayedFeed({ file: options.dataFile, columns: options.columns ?? {}, model });
  await orAborted(feed.check(onProgress), signal);
  const bundlesDir = await publishBundle(options);
  const stack = await startStack({
    dir: options.dir,
    bundlesDir,
    env: { pool: { CKV_ACTIVE_BUNDLE: model.id } }, // of all bundles in the folder
    redisUrl: options.redisUrl,
    redisTls: options.redisTls ?? {},
    usualPorts: true,
    // An external Redis may hold keys of other systems and of earlier runs.
    removeKeys: options.redisUrl !== undefined,
    keyPrefix: options.redisUrl === undefined ? 'ckv' : `ckv-quickstart-${Date.now().toString(36)}`,
    onProgress,
    ...(signal ? { signal } : {}),
  });
  const client = createCollectiveKvClient({
    rankingTarget: stack.targets.ranking,
    interactionTarget: stack.targets.updater,
    rankTimeoutMs: 5_000,
    recordTimeoutMs: 60_000,
    maxAttempts: 10,
  });
  const userCache = createGrpcClient('UserCacheService', stack.targets['user-cache']);
  try {
    return await orAborted(Promise.race([measure(), stack.failure]), signal);
  } catch (error) {
    await stack.stop();
    throw error;
  } finally {
    client.close();
    userCache.close();
  }

  async function measure(): Promise<QuickstartRun> {
    const streamed = await streamHistory(feed, client, userCache, model.manifest.maxPositions, onProgress);
    const unknown =
      options.dataFile === undefined ? 0 : streamed.items.filter((id) => model.items.indexOf(id) === 0).length;
    if (unknown > 0) {
      onProgress(
        `the bundle does not know ${unknown} of the log's ${streamed.items.length} items; all of them share one "unknown" item`,
      );
    }
    const memory = await statsOf(userCache);
    const { firstFailure, ...live } = await rankLive(feed, client, options.rankRequests, onProgress);
    const fullKvBytesPerPosition = fullKvBytes(model.manifest);
    const bytesPerPosition = memory.memoryBytes / memory.positionCount;
    const summary: Summary = {
      bundleId: model.id,
      users: streamed.users,
      interactions: streamed.interactions,
      positions: memory.positionCount,
      expectedPositions: streamed.expectedPositions,
      unknownItems: unknown,
      interactionsPerSecond: Math.round(streamed.interactions / streamed.seconds),
      bytesPerPosition,
      fullKvBytesPerPosition,
      compressionRatio: bytesPerPosition / fullKvBytesPerPosition,
      ...live,
      residentMb: await residentMb(stack),
    };
    const problems: string[] = [];
    if (summary.positions !== summary.expectedPositions) {
      problems.push(`Redis holds ${summary.positions} positions instead of ${summary.expectedPositions}`);
    }
    if (firstFailure) problems.push(`${summary.failedRequests} requests failed; the first: ${firstFailure}`);
    return { stack, summary, problems, example: feed.rankCase(0) };
  }
}

/**
 * Makes a folder with a link to the bundle, to which other bundles can be copied while the stack runs. Those that were
 * copied before stay.
 */
async function publishBundle({ dir, bundleDir }: Pick<QuickstartOptions, 'dir' | 'bundleDir'>): Promise<string> {
  const bundlesDir = join(dir, 'bundles');
  await mkdir(bundlesDir, { recursive: true });
  for (const entry of await readdir(bundlesDir, { withFileTypes: true })) {
    if (entry.isSymbolicLink()) await rm(join(bundlesDir, entry.name)); // of an earlier run
  }
  const bundle = await realpath(bundleDir);
  const name = basename(bundle);
  await symlink(bundle, join(bundlesDir, name), 'dir').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
    throw new Error(`${join(bundlesDir, name)} is in the way of the bundle to serve; move it, or give it another name`);
  });
  return bundlesDir;
}

async function statsOf(userCache: GrpcClient<'UserCacheService'>): Promise<StatsResponse__Output> {
  return userCache.call('Stats', { encodingId: '', maxRecords: 0 }, { deadlineMs: steadyNowMs() + 120_000 });
}

/** Streams the history, and waits until all interactions are in records. */
async function streamHistory(
  feed: QuickstartFeed,
  client: CollectiveKvClient,
  userCache: GrpcClient<'UserCacheService'>,
  maxPositions: number,
  onProgress: QuickstartOptions['onProgress'],
) {
  const perUser = new Map<string, number>();
  const items = new Set<string>();
  let interactions = 0;
  const startedMs = performance.now();
  const total = feed.historyCount().toLocaleString('en');
  for await (const batch of feed.history()) {
    for (const { userId, itemId } of batch) {
      items.add(itemId);
      perUser.set(userId, (perUser.get(userId) ?? 0) + 1);
    }
    interactions += batch.length;
    await client.recordInteractions(batch);
    onProgress(`queued ${interactions.toLocaleString('en')} of ${total} interactions`, true);
  }
  let last = { count: -1, atMs: performance.now() };
  for (;;) {
    const { lifetimeCount } = await statsOf(userCache);
    onProgress(
      `stored ${lifetimeCount.toLocaleString('en')} of ${interactions.toLocaleString('en')} interactions`,
      true,
    );
    if (lifetimeCount >= interactions) break;
    if (lifetimeCount > last.count) last = { count: lifetimeCount, atMs: performance.now() };
    if (performance.now() - last.atMs > STALL_MS)
      throw new Error(`only ${lifetimeCount} of ${interactions} interactions arrived in records`);
    await sleep(200);
  }
  const expected = [...perUser.values()].reduce((sum, count) => sum + Math.min(count, maxPositions), 0);
  return {
    users: perUser.size,
    interactions,
    expectedPositions: expected,
    items: [...items],
    seconds: (performance.now() - startedMs) / 1000,
  };
}

/** Ranks with and without history, and measures the time until a new interaction affects answers. */
async function rankLive(
  feed: QuickstartFeed,
  client: CollectiveKvClient,
  requests: number,
  onProgress: QuickstartOptions['onProgress'],
) {
  const rankMs: number[] = [];
  const freshnessMs: number[] = [];
  let candidates = 0;
  const withHistory: Scored[] = [];
  const withoutHistory: Scored[] = [];
  let failedRequests = 0;
  let firstFailure: string | undefined;
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      failedRequests++;
      firstFailure ??= error instanceof Error ? error.message : String(error);
      return undefined;
    }
  };
  for (let i = 0; i < requests; i++) {
    const { labels, ...rankCase } = feed.rankCase(i);
    candidates = Math.max(candidates, rankCase.candidateIds.length);
    const startedMs = performance.now();
    const full = await attempt(() => client.rank({ ...rankCase, history: 'required' }));
    rankMs.push(performance.now() - startedMs);
    const bare = await attempt(() => client.rank({ ...rankCase, history: 'ignored' }));
    for (const [j, label] of (labels ?? []).entries()) {
      if (full) withHistory.push({ score: full.scores[j] ?? 0, label });
      if (bare) withoutHistory.push({ score: bare.scores[j] ?? 0, label });
    }
    if (i % 3 === 0) {
      const fresh = await attempt(() => untilServed(feed, client, i));
      if (fresh !== undefined) freshnessMs.push(fresh);
    }
    if (i % 10 === 0) onProgress(`ranked ${i} of ${requests} requests`, true);
  }
  return {
    candidates,
    rankP50Ms: quantile(rankMs, 0.5),
    rankP99Ms: quantile(rankMs, 0.99),
    freshnessP50Ms: quantile(freshnessMs, 0.5),
    freshnessP99Ms: quantile(freshnessMs, 0.99),
    aucWithHistory: withHistory.length > 0 ? areaUnderCurve(withHistory) : null,
    aucWithoutHistory: withoutHistory.length > 0 ? areaUnderCurve(withoutHistory) : null,
    failedRequests,
    firstFailure,
  };
}

/** Records a user's next interactions, and ranks until an answer includes them. Returns the time, ms. */
async function untilServed(feed: QuickstartFeed, client: CollectiveKvClient, i: number): Promise<number> {
  const interactions = feed.nextInteractions(i);
  const newestMs = Math.max(...interactions.map(({ timestampMs }) => timestampMs ?? 0));
  const [first] = interactions;
  const startedMs = performance.now();
  await client.recordInteractions(interactions);
  while (performance.now() - startedMs < FRESHNESS_TIMEOUT_MS) {
    const { info } = await client.rank({
      userId: first?.userId ?? '',
      candidateIds: [first?.itemId ?? ''],
      history: 'required',
    });
    if (info.lastEventMs >= newestMs) return performance.now() - startedMs;
    await sleep(2);
  }
  throw new Error(`no answer included the interaction within ${FRESHNESS_TIMEOUT_MS} ms`);
}

/** Returns the folder of the demo bundle in a checkout. */
export function demoBundleDir(root: string): string {
  return join(root, 'bundles', 'demo');
}
