import type { LoadedBundle } from './loaded-bundle.js';

/** The states of a loaded bundle. Every bundle passes through them in this order. */
export type KeptState =
  /** The pool announces it. Requests get it by its id. */
  | 'kept'
  /** The pool no longer announces it. Requests that hold it still run its graphs. */
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
  /** Keeps the sessions of a bundle until the returned function is called. Calling it again has no effect. */
  hold(bundle: LoadedBundle): () => void;
  /** Hides a bundle from new requests, and closes it when nobody holds it. */
  retire(bundleId: string): void;
  /** Closes every bundle, also those that somebody holds. */
  close(): Promise<void>;
}

interface Entry {
  readonly bundle: LoadedBundle;
  state: KeptState;
  holdCount: number;
}

/** Creates an empty collection. */
export function createKeptBundles(): KeptBundles {
  const kept = new Map<string, Entry>();
  /** Entries that are not closed. */
  const open = new Map<LoadedBundle, Entry>();

  async function close(entry: Entry): Promise<void> {
    if (entry.state === 'closed') return;
    entry.state = 'closed';
    open.delete(entry.bundle);
    await entry.bundle.close();
  }

  function closeIfUnused(entry: Entry): void {
    if (entry.state === 'retired' && entry.holdCount === 0) void close(entry).catch(() => undefined);
  }

  return {
    ids: () => [...kept.keys()],
    has: (bundleId) => kept.has(bundleId),
    get: (bundleId) => kept.get(bundleId)?.bundle,
    keep(bundle) {
      const entry: Entry = { bundle, state: 'kept', holdCount: 0 };
      kept.set(bundle.model.id, entry);
      open.set(bundle, entry);
    },
    hold(bundle) {
      let entry = open.get(bundle);
      if (entry) entry.holdCount++;
      return () => {
        if (!entry) return;
        entry.holdCount--;
        closeIfUnused(entry);
        entry = undefined;
      };
    },
    retire(bundleId) {
      const entry = kept.get(bundleId);
      if (!entry) return;
      entry.state = 'retired';
      kept.delete(bundleId);
      closeIfUnused(entry);
    },
    async close() {
      await Promise.all([...open.values()].map(close));
      kept.clear();
    },
  };
}
