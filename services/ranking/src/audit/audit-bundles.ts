import { type BundleTrust, installBundle, type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { CkvError, type GraphName, steadyNowMs } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import type { GrpcClient } from '@collectivekv/rpc';

/** The bundles that audits run, on an engine of their own. Each is loaded when an audit first needs it. */
export interface AuditBundles {
  /**
   * Returns a bundle that ranking serves, with the graphs of `graphs`.
   * @throws as loadBundle does; dependency_unavailable soon after a failure
   */
  served(bundle: Pick<LoadedBundle, 'dir' | 'model'>, graphs: readonly GraphName[]): Promise<LoadedBundle>;
  /**
   * Returns a bundle by its id. If ranking has not fetched it, fetches it from the pool.
   * @throws as installBundle and loadBundle do; dependency_unavailable soon after a failure
   */
  byId(bundleId: string, graphs: readonly GraphName[]): Promise<LoadedBundle>;
  close(): Promise<void>;
}

/** Options of {@link createAuditBundles}. */
export interface AuditBundlesOptions {
  readonly engine: Engine;
  /** Where ranking keeps fetched bundles. */
  readonly cacheDir: string;
  readonly pool: Pick<GrpcClient<'PoolService'>, 'stream'>;
  readonly trust: BundleTrust | undefined;
}

interface Entry {
  readonly loading: Promise<LoadedBundle>;
  failedAtMs: number | undefined;
}

/** Most bundles that are loaded: the served one, the one before, and a shadow bundle. */
const MAX_LOADED = 3;
/** Time until a bundle that failed to load is tried again, ms. */
const RETRY_MS = 60_000;

/** Creates an empty collection. If it is full, a new bundle takes the place of the one used least recently. */
export function createAuditBundles({ engine, cacheDir, pool, trust }: AuditBundlesOptions): AuditBundles {
  const entries = new Map<string, Entry>(); // least recently used first
  let closed = false;

  async function get(id: string, graphs: readonly GraphName[], folder: () => Promise<string>): Promise<LoadedBundle> {
    if (closed) throw new CkvError('draining', 'the service is shutting down');
    const key = `${id} ${graphs.join()}`;
    let entry = entries.get(key);
    if (entry?.failedAtMs !== undefined && steadyNowMs() - entry.failedAtMs >= RETRY_MS) entry = undefined;
    else if (entry?.failedAtMs !== undefined) {
      throw new CkvError('dependency_unavailable', `bundle ${id} did not load for audits; it is tried again soon`);
    }
    entry ??= begin(async () => {
      const options = { graphs, verifyGolden: true, poolTables: graphs.includes('rank'), privateDir: cacheDir, trust };
      return loadBundle(await folder(), engine, options);
    });
    entries.delete(key);
    entries.set(key, entry);
    if (entries.size > MAX_LOADED) await evict();
    return entry.loading;
  }

  function begin(load: () => Promise<LoadedBundle>): Entry {
    const entry: Entry = { loading: load(), failedAtMs: undefined };
    entry.loading.catch(() => {
      entry.failedAtMs = steadyNowMs();
    });
    return entry;
  }

  async function evict(): Promise<void> {
    for (const [key, { loading }] of entries) {
      entries.delete(key);
      await loading.then((bundle) => bundle.close()).catch(() => undefined);
      return;
    }
  }

  return {
    served: ({ dir, model }, graphs) => get(model.id, graphs, async () => dir),
    byId: (bundleId, graphs) =>
      get(bundleId, graphs, () => {
        const limits = { deadlineMs: steadyNowMs() + 600_000 };
        const fetch = () => pool.stream('FetchBundle', { bundleId }, limits);
        return installBundle({ bundleId, cacheDir, fetch, trust });
      }),
    async close() {
      closed = true;
      while (entries.size > 0) await evict();
    },
  };
}
