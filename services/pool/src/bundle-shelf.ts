import { EventEmitter, once } from 'node:events';
import { type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { CkvError } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import type { Activation, ActivationFile } from './activation.js';

/** The active bundle, and the bundles that followers keep loaded: the active one, then those for a rollback. */
export interface Announcement {
  readonly activeBundleId: string;
  readonly bundleIds: readonly string[];
}

/** The verified bundles of a pool, one of them active. */
export interface BundleShelf {
  /** Returns a bundle by its id; an empty id means the active bundle. Throws bundle_not_loaded. */
  get(bundleId: string): LoadedBundle;
  /** Ids of all bundles, the active one first. */
  ids(): readonly string[];
  announcement(): Announcement;
  /** Makes a bundle active. Returns the id of the bundle that was active before. Throws bundle_not_loaded. */
  activate(bundleId: string): Promise<string>;
  /** Makes the previously active bundle active again. Returns its id. Throws bundle_not_loaded if there was none. */
  rollback(): Promise<string>;
  /** Yields the announcement now and after every change, until the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<Announcement>;
  /** Adopts the activation that another replica wrote to the file. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}

/** Options of {@link createBundleShelf}. */
export interface BundleShelfOptions {
  /** Bundle folders. */
  readonly dirs: readonly string[];
  /** Id or name of the first active bundle; may be empty if there is only one bundle. */
  readonly preferred: string;
  readonly engine: Engine;
  readonly activationFile: ActivationFile;
  /** Called with every verified bundle. */
  readonly onLoaded?: (bundle: LoadedBundle) => void;
}

/** Bundles announced besides the active one: followers keep them loaded for a rollback. */
const WARM_PREVIOUS = 1;

/**
 * Loads and verifies every bundle, then chooses the active one: the one in the activation file, otherwise the preferred
 * one, otherwise the only one.
 * @throws bundle_invalid; bundle_not_loaded if none of these names a bundle
 */
export async function createBundleShelf(options: BundleShelfOptions): Promise<BundleShelf> {
  const { engine, activationFile } = options;
  const bundles = new Map<string, LoadedBundle>();
  for (const dir of options.dirs) {
    const bundle = await loadBundle(dir, engine, {
      graphs: ['encode', 'rank', 'rankKv', 'gather'],
      verifyGolden: true,
    });
    bundles.set(bundle.model.id, bundle);
    options.onLoaded?.(bundle);
  }
  let activation = await firstActivation(bundles, options);
  const changes = new EventEmitter().setMaxListeners(0);

  function adopt(next: Activation): void {
    activation = next;
    changes.emit('change');
  }

  function require(bundleId: string): LoadedBundle {
    const bundle = bundles.get(bundleId);
    if (bundle) return bundle;
    throw new CkvError(
      'bundle_not_loaded',
      `bundle_id: ${bundleId} is not loaded; use one of this pool: ${[...bundles.keys()].join(', ')}`,
      {
        field: 'bundle_id',
      },
    );
  }

  const announcement = (): Announcement => ({
    activeBundleId: activation.active,
    bundleIds: [activation.active, ...activation.previous.filter((id) => bundles.has(id)).slice(0, WARM_PREVIOUS)],
  });

  return {
    get: (bundleId) => require(bundleId === '' ? activation.active : bundleId),
    ids: () => [activation.active, ...[...bundles.keys()].filter((id) => id !== activation.active)],
    announcement,
    async activate(bundleId) {
      require(bundleId);
      const before = activation.active;
      if (before === bundleId) return before;
      const previous = [before, ...activation.previous.filter((id) => id !== bundleId && id !== before)];
      const next = { active: bundleId, previous };
      await activationFile.write(next);
      adopt(next);
      return before;
    },
    async rollback() {
      const [target, ...rest] = activation.previous;
      if (target === undefined)
        throw new CkvError('bundle_not_loaded', 'no bundle was active before this one; activate one by its id');
      require(target);
      const next = { active: target, previous: [...rest, activation.active] };
      await activationFile.write(next);
      adopt(next);
      return target;
    },
    async *watch(signal) {
      let announced: Activation | undefined;
      while (!signal.aborted) {
        if (announced === activation) await once(changes, 'change', { signal }).catch(() => undefined);
        if (signal.aborted) return;
        announced = activation;
        yield announcement();
      }
    },
    async refresh() {
      const stored = await activationFile.read();
      if (stored && stored.active !== activation.active && bundles.has(stored.active)) adopt(stored);
    },
    async close() {
      await Promise.all([...bundles.values()].map((bundle) => bundle.close()));
    },
  };
}

async function firstActivation(
  bundles: ReadonlyMap<string, LoadedBundle>,
  { preferred, activationFile }: BundleShelfOptions,
): Promise<Activation> {
  const stored = await activationFile.read();
  if (stored && bundles.has(stored.active)) return stored;
  const all = [...bundles.values()];
  const chosen =
    preferred === '' && all.length === 1
      ? all[0]
      : all.find(({ model }) => model.id === preferred || model.manifest.name === preferred);
  if (chosen) return { active: chosen.model.id, previous: [] };
  const names = all.map(({ model }) => `${model.manifest.name} (${model.id})`).join(', ') || 'none';
  throw new CkvError('bundle_not_loaded', `CKV_ACTIVE_BUNDLE: "${preferred}" is not a bundle; use one of: ${names}`);
}
