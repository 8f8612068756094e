import { mkdir, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, CkvError, type GraphName, servesUser, toCkvError } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import type { GrpcClient } from '@collectivekv/rpc';
import { type AnnouncedBundle, type Announcement, createAnnouncementFile, parseAnnouncement } from './announcement.js';
import type { BundleTrust } from './bundle-trust.js';
import { installBundle } from './install-bundle.js';
import type { BatchUsers } from './join-users.js';
import { createKeptBundles } from './kept-bundles.js';
import { loadBundle } from './load-bundle.js';
import { startLoadLoop } from './load-loop.js';
import type { LoadedBundle } from './loaded-bundle.js';

/** Keeps the announced bundles of the pool loaded, and switches to a new active bundle when it is loaded. */
export interface BundleFollower {
  /** Resolves when the first active bundle is loaded. */
  readonly ready: Promise<void>;
  /** Returns the active bundle. Throws dependency_unavailable before the first is loaded; draining after `close`. */
  active(): LoadedBundle;
  /** Returns the bundle that serves a user: a canary, or the active bundle. Throws as `active` does. */
  serving(userId: string): ServingBundle;
  /** Returns a kept bundle by its id. Throws bundle_not_loaded. */
  get(bundleId: string): LoadedBundle;
  /** Returns every kept bundle, the active one first. */
  all(): readonly LoadedBundle[];
  /** Returns what the pool announces, the active bundle first. Some of these bundles may not be loaded yet. */
  announced(): readonly AnnouncedBundle[];
  /** Keeps a bundle that was retired meanwhile until the returned function is called. Call it once, in any case. */
  hold(bundle: LoadedBundle): () => void;
  /** Stops following and closes every bundle. */
  close(): Promise<void>;
}

/** The bundle that serves a user. */
export interface ServingBundle {
  readonly bundle: LoadedBundle;
  /** Share of the users that the bundle serves as a canary, in parts per 10,000; 0 if it is the active bundle. */
  readonly canaryShareBp: number;
}

/** Options of {@link followBundles}. */
export interface FollowOptions {
  readonly pool: Pick<GrpcClient<'PoolService'>, 'stream'>;
  /** Folder for fetched bundles and the last announcement. */
  readonly cacheDir: string;
  readonly engine: Engine;
  /** The graphs to load of each bundle. */
  readonly graphs: readonly GraphName[];
  /** Most users of a run of the graph `rank`; see LoadOptions. Default: 1. */
  readonly batchUsers?: BatchUsers;
  /** Checks the signatures of each bundle. Undefined trusts every bundle. */
  readonly trust: BundleTrust | undefined;
  readonly log: FollowLog;
}

/** The part of a logger that a follower needs. */
export interface FollowLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** The states of a follower. */
type FollowerState =
  /** The pool has announced nothing yet. The cache folder is read if the pool cannot be followed. */
  | { readonly name: 'connecting' }
  /** The pool has announced nothing yet, and the cache folder had no bundle to start with. */
  | { readonly name: 'empty' }
  /** The first active bundle is being loaded. */
  | { readonly name: 'loading'; readonly announced: Announced }
  /** A bundle serves. It is the active one of the announcement, unless this one is still being loaded. */
  | { readonly name: 'serving'; readonly announced: Announced; readonly activeId: string }
  /** The service is shutting down. */
  | { readonly name: 'closed' };

/** Who names a bundle: the pool, which can also send it, or the cache folder. */
type Origin = 'pool' | 'cache';

/** The latest announcement, and the message that it was read from. */
interface Announced extends Announcement {
  readonly origin: Origin;
  readonly message: unknown;
}

const RECONNECT_PAUSE = { firstMs: 200, longestMs: 2_000 };

/**
 * Follows a pool: fetches and verifies the announced bundles, serves the active one as soon as it is loaded, and
 * retires bundles that are no longer announced. Bundles are loaded one at a time, the active one first. A change
 * between loaded bundles waits for no load. If the pool cannot be reached, starts with the last announcement of the
 * cache folder.
 */
export function followBundles(options: FollowOptions): BundleFollower {
  const { pool, cacheDir, engine, graphs, batchUsers = 1, trust, log } = options;
  const bundles = createKeptBundles();
  const announcementFile = createAnnouncementFile(cacheDir);
  const stop = new AbortController();
  let state: FollowerState = { name: 'connecting' };
  let becomeReady = () => {};
  const ready = new Promise<void>((resolve) => {
    becomeReady = resolve;
  });
  const isIn = (name: FollowerState['name']) => state.name === name;
  const announced = () => (state.name === 'loading' || state.name === 'serving' ? state.announced : undefined);
  const announcedBundles = () => announced()?.bundles ?? [];

  async function follow(): Promise<void> {
    let failureCount = 0;
    while (!isIn('closed')) {
      try {
        await mkdir(cacheDir, { recursive: true });
        for await (const message of pool.stream('WatchBundles', {}, { signal: stop.signal })) {
          adopt({ ...parseAnnouncement(message), origin: 'pool', message });
          failureCount = 0;
        }
      } catch (error) {
        if (isIn('closed')) return;
        log.warn({ problem: (error as Error).message }, 'the pool cannot be followed; trying again');
      }
      if (isIn('connecting')) await startFromCache();
      failureCount++;
      const pauseMs = backoffMs(failureCount, RECONNECT_PAUSE);
      await sleep(pauseMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  }

  /** Loads the active bundle of the last announcement, then adopts this announcement. */
  async function startFromCache(): Promise<void> {
    try {
      const message = await announcementFile.read();
      const announcement = parseAnnouncement(message);
      await load(announcement.activeBundleId, 'cache');
      if (isIn('connecting')) adopt({ ...announcement, origin: 'cache', message });
    } catch (error) {
      log.info({ cacheDir, problem: (error as Error).message }, 'the cache folder has no bundle to start with');
      if (isIn('connecting')) state = { name: 'empty' };
    }
  }

  /** Follows an announcement from now on. Bundles that are lacking are loaded later. */
  function adopt(next: Announced): void {
    if (isIn('closed')) return;
    state = state.name === 'serving' ? { ...state, announced: next } : { name: 'loading', announced: next };
    settle();
    loading.wake();
  }

  /** Serves the announced active bundle if it is loaded, and retires the bundles that are not needed any more. */
  function settle(): void {
    const latest = announced();
    if (!latest) return;
    const { activeBundleId } = latest;
    if (bundles.has(activeBundleId)) {
      const before = state.name === 'serving' ? state.activeId : undefined;
      state = { name: 'serving', announced: latest, activeId: activeBundleId };
      if (before !== activeBundleId) log.info({ bundleId: activeBundleId }, 'bundle active');
      becomeReady();
      if (latest.origin === 'pool') remember(latest.message);
    }
    const needed = new Set(latest.bundles.map(({ bundleId }) => bundleId));
    if (state.name === 'serving') needed.add(state.activeId);
    for (const id of bundles.ids()) if (!needed.has(id)) retire(id);
  }

  /** Writes the announcement file. Writes do not overlap. */
  let writing: Promise<void> = Promise.resolve();
  function remember(message: unknown): void {
    writing = writing
      .then(() => announcementFile.write(message))
      .catch((error: Error) => log.warn({ problem: error.message }, 'the announcement cannot be kept for a restart'));
  }

  async function load(id: string, origin: Origin): Promise<void> {
    const bundle = await fetchAndVerify(id, origin);
    bundles.keep(bundle);
    log.info({ bundleId: id, origin }, 'bundle loaded');
    const ranks = graphs.some((graph) => graph === 'rank' || graph === 'rankKv');
    if (ranks && !bundle.splitsCandidates) {
      log.info({ bundleId: id }, 'workers cannot share a request: scores of this bundle depend on other candidates');
    }
    if (bundle.joinedUsers) log.info({ bundleId: id, ...bundle.joinedUsers }, 'most users that share a graph run');
  }

  async function fetchAndVerify(id: string, origin: Origin): Promise<LoadedBundle> {
    const fetch = () => pool.stream('FetchBundle', { bundleId: id }, { signal: stop.signal });
    const dir = await installBundle({
      bundleId: id,
      cacheDir,
      fetch: origin === 'pool' ? fetch : undefined,
      trust,
    });
    try {
      const bundle = await loadBundle(dir, engine, {
        graphs,
        batchUsers,
        verifyGolden: true,
        poolTables: graphs.includes('rank'),
        privateDir: cacheDir,
        trust,
      });
      if (bundle.model.id === id) return bundle;
      await bundle.close();
      throw new CkvError('bundle_invalid', `${dir} holds bundle ${bundle.model.id}, not ${id}; it is fetched again`);
    } catch (error) {
      // Without the damaged copy, the next try fetches the bundle again.
      if (toCkvError(error).reason === 'bundle_invalid') await rm(dir, { recursive: true, force: true });
      throw error;
    }
  }

  function retire(id: string): void {
    bundles.retire(id);
    log.info({ bundleId: id }, 'bundle retired');
  }

  function get(bundleId: string): LoadedBundle {
    const bundle = bundles.get(bundleId);
    if (bundle) return bundle;
    const loaded = bundles.ids().join(', ') || 'none';
    throw new CkvError(
      'bundle_not_loaded',
      `bundle_id: ${bundleId} is not loaded on this replica, which has ${loaded}; leave it empty for the active bundle`,
      { field: 'bundle_id' },
    );
  }

  function active(): LoadedBundle {
    if (state.name === 'serving') return get(state.activeId);
    if (state.name === 'closed') throw shuttingDown();
    throw new CkvError('dependency_unavailable', 'no bundle is loaded yet; wait until the pool has sent one', {
      retryAfterMs: RECONNECT_PAUSE.firstMs,
    });
  }

  const loading = startLoadLoop({
    lacking: () => announcedBundles().flatMap(({ bundleId }) => (bundles.has(bundleId) ? [] : [bundleId])),
    async load(bundleId) {
      await load(bundleId, announced()?.origin ?? 'cache');
      settle();
    },
    onFailed(bundleId, thrown) {
      const { reason, message, cause } = toCkvError(thrown);
      const fields = { bundleId, reason, problem: message, err: cause };
      if (bundleId === announced()?.activeBundleId) log.warn(fields, 'the active bundle does not load; trying again');
      else log.warn(fields, 'a bundle that is kept beside the active one does not load; trying again');
    },
    signal: stop.signal,
  });
  const following = follow();

  return {
    ready,
    active,
    serving(userId) {
      for (const { bundleId, state, shareBp } of announcedBundles()) {
        if (state !== 'canary' || !servesUser({ bundleId, shareBp }, userId)) continue;
        const bundle = bundles.get(bundleId);
        if (bundle) return { bundle, canaryShareBp: shareBp };
      }
      return { bundle: active(), canaryShareBp: 0 };
    },
    get,
    all() {
      if (state.name !== 'serving') return [];
      const ids = new Set([state.activeId, ...announcedBundles().map(({ bundleId }) => bundleId)]);
      return [...ids].flatMap((id) => bundles.get(id) ?? []);
    },
    announced: announcedBundles,
    hold: bundles.hold,
    async close() {
      state = { name: 'closed' };
      stop.abort(shuttingDown());
      await Promise.all([following, loading.ended]);
      await writing;
      await bundles.close();
    },
  };
}

function shuttingDown(): CkvError {
  return new CkvError('draining', 'the service is shutting down');
}
