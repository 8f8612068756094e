import { mkdir, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, CkvError, type GraphName, toCkvError } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import type { GrpcClient } from '@collectivekv/rpc';
import { type Announcement, announcementSchema, createAnnouncementFile } from './announcement.js';
import type { BundleTrust } from './bundle-trust.js';
import { installBundle } from './install-bundle.js';
import { createKeptBundles } from './kept-bundles.js';
import { loadBundle } from './load-bundle.js';
import type { LoadedBundle } from './loaded-bundle.js';

/** Keeps the announced bundles of the pool loaded, and switches to a new active bundle when it is loaded. */
export interface BundleFollower {
  /** Resolves when the first active bundle is loaded. */
  readonly ready: Promise<void>;
  /** Returns the bundle to serve. Throws dependency_unavailable before the first is loaded; draining after `close`. */
  active(): LoadedBundle;
  /** Returns a kept bundle by its id. Throws bundle_not_loaded. */
  get(bundleId: string): LoadedBundle;
  /** Returns every kept bundle, the active one first. */
  all(): readonly LoadedBundle[];
  /** Stops following and closes every bundle. */
  close(): Promise<void>;
}

/** Options of {@link followBundles}. */
export interface FollowOptions {
  readonly pool: Pick<GrpcClient<'PoolService'>, 'stream'>;
  /** Folder for fetched bundles and the last announcement. */
  readonly cacheDir: string;
  readonly engine: Engine;
  /** The graphs to load of each bundle. */
  readonly graphs: readonly GraphName[];
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
  /** The active bundle of the announcement is loaded. The announcement lists only bundles that are loaded. */
  | { readonly name: 'serving'; readonly announcement: Announcement }
  /** The service is shutting down. */
  | { readonly name: 'closed' };

/** Who names a bundle: the pool, which can also send it, or the cache folder. */
type Origin = 'pool' | 'cache';

const RECONNECT_PAUSE = { firstMs: 200, longestMs: 2_000 };
/** Time between retiring and closing a bundle: the default deadline of requests, the longest that may hold it. */
const CLOSE_DELAY_MS = 30_000;

/**
 * Follows a pool: fetches and verifies the announced bundles, serves the active one as soon as it is loaded, and
 * retires bundles that are no longer announced. If the pool cannot be reached, starts with the last announcement of the
 * cache folder.
 */
export function followBundles({ pool, cacheDir, engine, graphs, trust, log }: FollowOptions): BundleFollower {
  const bundles = createKeptBundles(CLOSE_DELAY_MS);
  const announcementFile = createAnnouncementFile(cacheDir);
  const stop = new AbortController();
  let state: FollowerState = { name: 'connecting' };
  let becomeReady = () => {};
  const ready = new Promise<void>((resolve) => {
    becomeReady = resolve;
  });
  const isIn = (name: FollowerState['name']) => state.name === name;

  async function follow(): Promise<void> {
    let failureCount = 0;
    while (!isIn('closed')) {
      try {
        await mkdir(cacheDir, { recursive: true });
        for await (const message of pool.stream('WatchBundles', {}, { signal: stop.signal })) {
          await adopt(announcementSchema.parse(message), 'pool');
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

  async function startFromCache(): Promise<void> {
    try {
      await adopt(await announcementFile.read(), 'cache');
    } catch (error) {
      log.info({ cacheDir, problem: (error as Error).message }, 'the cache folder has no bundle to start with');
      if (isIn('connecting')) state = { name: 'empty' };
    }
  }

  /** Loads the announced bundles, then serves them. Throws if the active bundle does not load. */
  async function adopt({ activeBundleId, bundleIds }: Announcement, origin: Origin): Promise<void> {
    const wanted = [activeBundleId, ...bundleIds.filter((id) => id !== activeBundleId)];
    for (const id of wanted) {
      if (!bundles.has(id)) {
        await load(id, origin).catch((error: unknown) => {
          if (id === activeBundleId) throw error;
          log.warn({ bundleId: id, err: error }, 'a bundle that is kept for a rollback does not load');
        });
      }
      if (isIn('closed')) return;
    }
    serve({ activeBundleId, bundleIds: wanted.filter((id) => bundles.has(id)) });
    for (const id of bundles.ids()) if (!wanted.includes(id)) retire(id);
    if (origin === 'pool') await announcementFile.write({ activeBundleId, bundleIds });
  }

  async function load(id: string, origin: Origin): Promise<void> {
    const bundle = await fetchAndVerify(id, origin);
    bundles.keep(bundle);
    log.info({ bundleId: id, origin }, 'bundle loaded');
    const ranks = graphs.some((graph) => graph === 'rank' || graph === 'rankKv');
    if (ranks && !bundle.splitsCandidates) {
      log.info({ bundleId: id }, 'workers cannot share a request: scores of this bundle depend on other candidates');
    }
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

  function serve(announcement: Announcement): void {
    const before = state.name === 'serving' ? state.announcement.activeBundleId : undefined;
    state = { name: 'serving', announcement };
    if (announcement.activeBundleId !== before) log.info({ bundleId: announcement.activeBundleId }, 'bundle active');
    becomeReady();
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

  const following = follow();

  return {
    ready,
    get,
    active() {
      if (state.name === 'serving') return get(state.announcement.activeBundleId);
      if (state.name === 'closed') throw shuttingDown();
      throw new CkvError('dependency_unavailable', 'no bundle is loaded yet; wait until the pool has sent one', {
        retryAfterMs: RECONNECT_PAUSE.firstMs,
      });
    },
    all: () => (state.name === 'serving' ? state.announcement.bundleIds.flatMap((id) => bundles.get(id) ?? []) : []),
    async close() {
      state = { name: 'closed' };
      stop.abort(shuttingDown());
      await following;
      await bundles.close();
    },
  };
}

function shuttingDown(): CkvError {
  return new CkvError('draining', 'the service is shutting down');
}
