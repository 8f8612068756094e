import { EventEmitter, once } from 'node:events';
import { type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { CkvError } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import type { Activation, ActivationFile } from './activation.js';

/** What watchers are told: the active bundle first, then those that a rollback may return to. */
export interface Announcement {
  readonly activeBundleId: string;
  readonly bundleIds: readonly string[];
}

/** The bundles that a pool serves, verified, and which of them is active. */
export interface BundleShelf {
  /** The bundle of that id, or the active one for an empty id. Throws bundle_not_loaded. */
  get(bundleId: string): LoadedBundle;
  announcement(): Announcement;
  /** Returns the id that was active before. Throws bundle_not_loaded. */
  activate(bundleId: string): Promise<string>;
  /** Returns the id that is active now. Throws bundle_not_loaded where nothing was active before. */
  rollback(): Promise<string>;
  /** The announcement now and at every change, until the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<Announcement>;
  /** Takes over what another replica wrote to the activation file. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}

/** Options of {@link createBundleShelf}. */
export interface BundleShelfOptions {
  /** Bundle folders. */
  readonly dirs: readonly string[];
  /** Id or name of the bundle to activate first; empty where there is one only. */
  readonly preferred: string;
  readonly engine: Engine;
  readonly activationFile: ActivationFile;
  readonly onLoaded?: (bundle: LoadedBundle) => void;
}

/** Bundles besides the active one that are announced, so that followers keep them warm for a rollback. */
const WARM_PREVIOUS = 1;

/**
 * Loads and verifies every bundle, then decides which is active: the one the file remembers, else the preferred, else
 * the only one.
 * @throws bundle_invalid, or bundle_not_loaded where no bundle can be chosen
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
      `bundle_id: ${bundleId} is not loaded; this pool has ${[...bundles.keys()].join(', ')}`,
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
      if (target === undefined) throw new CkvError('bundle_not_loaded', 'no bundle was active before this one');
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
  throw new CkvError('bundle_not_loaded', `CKV_ACTIVE_BUNDLE: "${preferred}" names no bundle; there are: ${names}`);
}
