import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBundle } from '@collectivekv/bundles';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import type { StatsResponse__Output } from '@collectivekv/contracts';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { areaUnderCurve, quantile, type Scored } from './auc.js';
import { type QuickstartFeed, replayedFeed, simulatedFeed } from './quickstart-feed.js';
import { residentMb } from './resident-mb.js';
import { type Stack, startStack } from './stack.js';
import type { Summary } from './summary.js';

/** Options of {@link runQuickstart}. */
export interface QuickstartOptions {
  /** Folder of everything that is written. */
  readonly dir: string;
  readonly bundleDir: string;
  readonly redisUrl?: string | undefined;
  /** A real interaction log to replay; default: a simulated feed. */
  readonly dataFile?: string | undefined;
  /** Our column name -> the file's. */
  readonly columns?: Readonly<Record<string, string>>;
  /** Simulated users, and exposures of each. */
  readonly users: number;
  readonly positions: number;
  /** Rank requests of the live phase. */
  readonly rankRequests: number;
  /** Ends the run early, in order, when it resolves. */
  readonly stopped?: Promise<void>;
  /** Told what happens; `update` replaces what it said last. */
  readonly onProgress: (message: string, update?: boolean) => void;
}

/** A finished run: the stack is still up. */
export interface QuickstartRun {
  readonly stack: Stack;
  readonly summary: Summary;
  /** What did not work; empty where all did. */
  readonly problems: readonly string[];
}

const SEED = 1; // the world that the demo bundle was trained in
const FRESHNESS_TIMEOUT_MS = 10_000;
const STALL_MS = 60_000;

/**
 * Starts a stack, streams a feed through queue and updater, ranks live, and sums up.
 * @throws Error where a process dies or the stream stands still
 */
export async function runQuickstart(options: QuickstartOptions): Promise<QuickstartRun> {
  const { onProgress } = options;
  const { model } = await openBundle(options.bundleDir);
  const feed =
    options.dataFile === undefined
      ? simulatedFeed({ seed: SEED, users: options.users, positions: options.positions })
      : replayedFeed({ file: options.dataFile, columns: options.columns ?? {}, model });
  await feed.check();
  const stack = await startStack({
    dir: options.dir,
    bundlesDir: options.bundleDir,
    redisUrl: options.redisUrl,
    usualPorts: true,
    // A Redis from outside may hold the keys of others, and of runs before this one.
    removeKeys: options.redisUrl !== undefined,
    keyPrefix: options.redisUrl === undefined ? 'ckv' : `ckv-quickstart-${Date.now().toString(36)}`,
    onProgress,
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
    const stopped = options.stopped?.then(() => {
      throw new Error('stopped before the summary');
    });
    return await Promise.race([measure(), stack.failure, ...(stopped ? [stopped] : [])]);
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
        `${unknown} of the log's ${streamed.items.length} items are unknown to the bundle; they count as one item`,
      );
    }
    const memory = await statsOf(userCache);
    const live = await rankLive(feed, client, options.rankRequests, onProgress);
    const { dModel, groups } = model.manifest;
    const layerCount = groups.filter(({ pool }) => 2 * pool.keyWidth > dModel).length; // a codebook's rows are narrow
    const fullKvBytesPerPosition = layerCount * 2 * dModel * 4;
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
      problems.push(`${summary.positions} positions are in Redis, ${summary.expectedPositions} should be`);
    }
    if (summary.failedRequests > 0) problems.push(`${summary.failedRequests} requests failed`);
    return { stack, summary, problems };
  }
}

async function statsOf(userCache: GrpcClient<'UserCacheService'>): Promise<StatsResponse__Output> {
  return userCache.call('Stats', { bundleId: '', maxRecords: 0 }, { deadlineMs: Date.now() + 120_000 });
}

/** Streams the history and waits until all of it is in records. */
async function streamHistory(
  feed: QuickstartFeed,
  client: CollectiveKvClient,
  userCache: GrpcClient<'UserCacheService'>,
  maxPositions: number,
  onProgress: QuickstartOptions['onProgress'],
) {
  const perUser = new Map<string, number>();
  const items = new Set<string>();
  const events = new Set<string>();
  let interactions = 0;
  const startedMs = performance.now();
  const total = feed.historyCount === undefined ? '' : ` of ${feed.historyCount.toLocaleString('en')}`;
  for await (const batch of feed.history()) {
    for (const { eventId, userId, itemId } of batch) {
      items.add(itemId);
      if (eventId !== undefined && events.has(eventId)) continue; // a line that stands twice counts once
      if (eventId !== undefined) events.add(eventId);
      perUser.set(userId, (perUser.get(userId) ?? 0) + 1);
      interactions++;
    }
    await client.recordInteractions(batch);
    onProgress(`queued ${interactions.toLocaleString('en')}${total} interactions`, true);
  }
  let last = { count: -1, atMs: performance.now() };
  for (;;) {
    const { lifetimeCount } = await statsOf(userCache);
    onProgress(
      `in records: ${lifetimeCount.toLocaleString('en')} of ${interactions.toLocaleString('en')} interactions`,
      true,
    );
    if (lifetimeCount >= interactions) break;
    if (lifetimeCount > last.count) last = { count: lifetimeCount, atMs: performance.now() };
    if (performance.now() - last.atMs > STALL_MS)
      throw new Error(`only ${lifetimeCount} interactions arrived in records`);
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

/** Ranks with and without history, and measures how soon a new interaction is served. */
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
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch {
      failedRequests++;
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
  };
}

/** Records what a user does next and asks until an answer takes it into account. */
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
  throw new Error('the interaction did not arrive');
}

/** The folder of the bundle that the quickstart serves. */
export function demoBundleDir(root: string): string {
  return join(root, 'bundles', 'demo');
}
