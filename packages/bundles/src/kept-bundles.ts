import type { LoadedBundle } from './loaded-bundle.js';

/** The states of a loaded bundle. Every bundle passes through them in this order. */
export type BundleState =
  /** The pool announces it. Requests get it by its id. */
  | 'kept'
  /** The pool no longer announces it. Requests that got it before still run its graphs. */
  | 'retired'
  /** Its sessions are freed. */
  | 'closed';

/** The loaded bundles of a service. */
export interface KeptBundles {
  /** Ids of the kept bundles. */
  ids(): string[];
  has(bundleId: string): boolean;
  /** Returns a kept bundle; undefined if there is none of that id. */
  get(bundleId: string): LoadedBundle | undefined;
  keep(bundle: LoadedBundle): void;
  /** Hides a bundle from new requests, and closes it after the delay. */
  retire(bundleId: string): void;
  /** Closes every bundle. */
  close(): Promise<void>;
}

interface Entry {
  readonly bundle: LoadedBundle;
  state: BundleState;
}

/** Creates an empty collection. A retired bundle is closed `closeDelayMs` after its retirement. */
export function createKeptBundles(closeDelayMs: number): KeptBundles {
  const kept = new Map<string, Entry>();
  const retired = new Set<Entry>();

  async function close(entry: Entry): Promise<void> {
    if (entry.state === 'closed') return;
    entry.state = 'closed';
    retired.delete(entry);
    await entry.bundle.close();
  }

  return {
    ids: () => [...kept.keys()],
    has: (bundleId) => kept.has(bundleId),
    get: (bundleId) => kept.get(bundleId)?.bundle,
    keep(bundle) {
      kept.set(bundle.model.id, { bundle, state: 'kept' });
    },
    retire(bundleId) {
      const entry = kept.get(bundleId);
      if (!entry) return;
      entry.state = 'retired';
      kept.delete(bundleId);
      retired.add(entry);
      setTimeout(() => void close(entry).catch(() => undefined), closeDelayMs).unref();
    },
    async close() {
      await Promise.all([...kept.values(), ...retired].map(close));
    },
  };
}
