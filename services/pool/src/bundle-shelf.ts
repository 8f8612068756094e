import { EventEmitter, once } from 'node:events';
import { type BundleTrust, type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { CkvError, toCkvError } from '@collectivekv/domain';
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
  /** Adopts the activation that another replica wrote to the file, unless its bundle is lacking here. */
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
  /** Folder for private copies of files while graphs are loaded. Default: the system's folder for temporary files. */
  readonly privateDir?: string;
  /** Checks the signatures of each bundle. Undefined trusts every bundle. */
  readonly trust: BundleTrust | undefined;
  /** Called with every verified bundle. */
  readonly onLoaded?: (bundle: LoadedBundle) => void;
  /** Called with every bundle that is left out. */
  readonly onLeftOut?: (bundle: LeftOutBundle) => void;
  /** Called once for each bundle that another replica activated and this one lacks. */
  readonly onLacking?: (bundleId: string) => void;
}

/** A bundle that is left out, since it breaks the format, is not reproduced on this machine, or is not trusted. */
export interface LeftOutBundle {
  readonly dir: string;
  readonly problem: string;
}

/** Bundles announced besides the active one: followers keep them loaded for a rollback. */
const WARM_PREVIOUS = 1;

/**
 * Loads and verifies every bundle, then chooses the active one: the one in the activation file, otherwise the preferred
 * one, otherwise the only one. A damaged bundle, or one that no trusted key has signed, is left out, unless it may be
 * the one that should be active.
 * @throws bundle_invalid; bundle_not_loaded if none of these names a bundle
 */
export async function createBundleShelf(options: BundleShelfOptions): Promise<BundleShelf> {
  const { activationFile } = options;
  const bundles = new Map<string, LoadedBundle>();
  const leftOut: LeftOutBundle[] = [];
  for (const dir of options.dirs) {
    const found = await loadOrLeaveOut(dir, options);
    if ('problem' in found) leftOut.push(found);
    else bundles.set(found.model.id, found);
  }
  let activation = await firstActivation(bundles, leftOut, options);
  const changes = new EventEmitter().setMaxListeners(0);
  /** The bundle of the activation file, if it was not active here at the latest look. */
  let lacking: string | undefined;

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
      const other = stored?.active === activation.active ? undefined : stored;
      if (other && bundles.has(other.active)) adopt(other);
      else if (other && other.active !== lacking) options.onLacking?.(other.active);
      lacking = other?.active;
    },
    async close() {
      await Promise.all([...bundles.values()].map((bundle) => bundle.close()));
    },
  };
}

/** Loads and verifies a bundle. Reports it, and returns its problem if it is left out. */
async function loadOrLeaveOut(
  dir: string,
  { engine, privateDir, trust, onLoaded, onLeftOut }: BundleShelfOptions,
): Promise<LoadedBundle | LeftOutBundle> {
  try {
    const bundle = await loadBundle(dir, engine, {
      graphs: ['encode', 'rank', 'rankKv', 'gather'],
      verifyGolden: true,
      trust,
      ...(privateDir === undefined ? {} : { privateDir }),
    });
    onLoaded?.(bundle);
    return bundle;
  } catch (thrown) {
    const { reason, message } = toCkvError(thrown);
    if (reason !== 'bundle_invalid' && reason !== 'bundle_untrusted') throw thrown;
    const found = { dir, problem: message };
    onLeftOut?.(found);
    return found;
  }
}

async function firstActivation(
  bundles: ReadonlyMap<string, LoadedBundle>,
  leftOut: readonly LeftOutBundle[],
  { preferred, activationFile, dirs }: BundleShelfOptions,
): Promise<Activation> {
  const stored = await activationFile.read();
  if (stored && bundles.has(stored.active)) return stored;
  const all = [...bundles.values()];
  const chosen =
    preferred === '' && dirs.length === 1
      ? all[0]
      : all.find(({ model }) => model.id === preferred || model.manifest.name === preferred);
  // The id of a bundle that is left out is not known for sure: it may be the one that was activated.
  const other = stored !== undefined && leftOut.length > 0;
  if (chosen && !other) return { active: chosen.model.id, previous: [] };
  if (leftOut.length > 0) {
    const problem = `${leftOut.map((one) => one.problem).join('; ')}. No other bundle is known to be the active one`;
    const remedy = stored ? 'mend the bundle, or remove its folder' : 'mend the bundle, or set CKV_ACTIVE_BUNDLE';
    throw new CkvError('bundle_invalid', `${problem}; ${remedy}`);
  }
  const names = all.map(({ model }) => `${model.manifest.name} (${model.id})`).join(', ') || 'none';
  throw new CkvError('bundle_not_loaded', `CKV_ACTIVE_BUNDLE: "${preferred}" is not a bundle; use one of: ${names}`);
}
