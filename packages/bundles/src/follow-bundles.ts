import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type GraphName, toCkvError } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import type { GrpcClient } from '@collectivekv/rpc';
import { z } from 'zod';
import { installBundle } from './install-bundle.js';
import { type LoadedBundle, loadBundle } from './load-bundle.js';

/** The bundles that a service keeps loaded, as the pool announces them. */
export interface BundleFollower {
  /** Resolves when the first active bundle is loaded. */
  readonly ready: Promise<void>;
  /** The bundle to serve. Throws dependency_unavailable before there is one. */
  active(): LoadedBundle;
  /** A loaded bundle by id. Throws bundle_not_loaded. */
  get(bundleId: string): LoadedBundle;
  /** Every loaded bundle that is announced, the active one first. */
  all(): readonly LoadedBundle[];
  close(): Promise<void>;
}

/** Options of {@link followBundles}. */
export interface FollowOptions {
  readonly pool: GrpcClient<'PoolService'>;
  /** Folder of fetched bundles, and of what was announced last. */
  readonly cacheDir: string;
  readonly engine: Engine;
  readonly graphs: readonly GraphName[];
  readonly log: FollowLog;
}

/** The part of a logger that following needs. */
export interface FollowLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

const announcementSchema = z.object({
  activeBundleId: z.string().regex(/^[0-9a-f]{16}$/),
  bundleIds: z.array(z.string().regex(/^[0-9a-f]{16}$/)),
});
type Announcement = z.infer<typeof announcementSchema>;

const RECONNECT_MS = 200;
const MAX_RECONNECT_MS = 2_000;
/** A dropped bundle's sessions stay until calls that hold it have ended: the longest default deadline. */
const CLOSE_DELAY_MS = 30_000;

/**
 * Follows a pool: fetches and verifies what it announces, switches when the new bundle is loaded, and drops what is no
 * longer announced. Where the pool is away, the bundles of the last announcement are taken from the cache folder.
 */
export function followBundles({ pool, cacheDir, engine, graphs, log }: FollowOptions): BundleFollower {
  const loaded = new Map<string, LoadedBundle>();
  let announced: Announcement | undefined;
  const stopped = new AbortController();
  const announcementFile = join(cacheDir, 'announcement.json');
  let becomeReady = () => {};
  const ready = new Promise<void>((resolve) => {
    becomeReady = resolve;
  });

  async function adopt(next: Announcement, origin: 'pool' | 'cache'): Promise<void> {
    const ids = [next.activeBundleId, ...next.bundleIds.filter((id) => id !== next.activeBundleId)];
    for (const id of ids) {
      if (loaded.has(id)) continue;
      try {
        const bundle = await fetchAndLoad(id, origin);
        loaded.set(id, bundle);
        log.info({ bundleId: id, origin }, 'bundle loaded');
        const ranks = graphs.some((graph) => graph === 'rank' || graph === 'rankKv');
        if (ranks && !bundle.splitsCandidates) log.info({ bundleId: id }, 'its scores do not allow to split requests');
      } catch (error) {
        if (id === next.activeBundleId) throw error;
        log.warn({ bundleId: id, err: error }, 'a bundle kept for rollback does not load');
      }
      if (stopped.signal.aborted) return;
    }
    const changed = announced?.activeBundleId !== next.activeBundleId;
    announced = { activeBundleId: next.activeBundleId, bundleIds: ids.filter((id) => loaded.has(id)) };
    if (changed) log.info({ bundleId: next.activeBundleId }, 'bundle active');
    becomeReady();
    for (const [id, bundle] of loaded) if (!ids.includes(id)) drop(id, bundle);
    if (origin === 'pool') await remember(next);
  }

  async function fetchAndLoad(id: string, origin: 'pool' | 'cache'): Promise<LoadedBundle> {
    const dir = await installBundle(id, cacheDir, () => {
      if (origin === 'cache') throw new CkvError('bundle_not_loaded', `bundle ${id} is not in ${cacheDir}`);
      return pool.stream('FetchBundle', { bundleId: id }, { signal: stopped.signal });
    });
    try {
      const bundle = await loadBundle(dir, engine, { graphs, verifyGolden: true });
      if (bundle.model.id === id) return bundle;
      await bundle.close();
      throw new CkvError('bundle_invalid', `${dir} holds bundle ${bundle.model.id}, not ${id}; it is fetched anew`);
    } catch (error) {
      // A damaged copy would fail for ever: the next try fetches it anew.
      if (toCkvError(error).reason === 'bundle_invalid') await rm(dir, { recursive: true, force: true });
      throw error;
    }
  }

  function drop(id: string, bundle: LoadedBundle): void {
    loaded.delete(id);
    log.info({ bundleId: id }, 'bundle dropped');
    setTimeout(() => void bundle.close().catch(() => undefined), CLOSE_DELAY_MS).unref();
  }

  async function remember(next: Announcement): Promise<void> {
    const temporary = `${announcementFile}.${randomUUID()}`;
    await writeFile(temporary, JSON.stringify(next));
    await rename(temporary, announcementFile);
  }

  async function follow(): Promise<void> {
    let delayMs = RECONNECT_MS;
    let triedCache = false;
    while (!stopped.signal.aborted) {
      try {
        await mkdir(cacheDir, { recursive: true });
        for await (const message of pool.stream('WatchBundles', {}, { signal: stopped.signal })) {
          await adopt(announcementSchema.parse(message), 'pool');
          delayMs = RECONNECT_MS;
        }
      } catch (error) {
        if (stopped.signal.aborted) return;
        log.warn({ problem: (error as Error).message, retryInMs: delayMs }, 'the pool cannot be followed');
      }
      if (!triedCache && !announced) {
        triedCache = true;
        await startFromCache();
      }
      await sleep(delayMs * (0.5 + Math.random()), undefined, { signal: stopped.signal }).catch(() => undefined);
      delayMs = Math.min(delayMs * 2, MAX_RECONNECT_MS);
    }
  }

  async function startFromCache(): Promise<void> {
    try {
      await adopt(announcementSchema.parse(JSON.parse(await readFile(announcementFile, 'utf8'))), 'cache');
    } catch {
      log.info({ cacheDir }, 'no bundle in the cache folder');
    }
  }

  const following = follow();

  function get(bundleId: string): LoadedBundle {
    const bundle = loaded.get(bundleId);
    if (bundle) return bundle;
    const have = [...loaded.keys()].join(', ') || 'none';
    throw new CkvError(
      'bundle_not_loaded',
      `bundle_id: ${bundleId} is not loaded here (${have}); leave it empty for the active one`,
      {
        field: 'bundle_id',
      },
    );
  }

  return {
    ready,
    get,
    active() {
      if (announced) return get(announced.activeBundleId);
      const text = 'no bundle is loaded yet; the pool has announced none, or it is on its way';
      throw new CkvError('dependency_unavailable', text, { retryAfterMs: RECONNECT_MS });
    },
    all: () => (announced?.bundleIds ?? []).flatMap((id) => loaded.get(id) ?? []),
    async close() {
      stopped.abort(new CkvError('draining', 'the service is shutting down'));
      await following;
      await Promise.all([...loaded.values()].map((bundle) => bundle.close()));
    },
  };
}
