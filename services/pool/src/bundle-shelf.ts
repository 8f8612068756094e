import { EventEmitter, once } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import {
  type AnnouncedBundle,
  type Announcement,
  type BundleTrust,
  type LoadedBundle,
  loadBundle,
  readManifestBytes,
} from '@collectivekv/bundles';
import { bundleIdOf, CkvError, GRAPH_NAMES, parseManifest, toCkvError } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import type { Activation, ActivationFile } from './activation.js';
import {
  activated,
  type Candidate,
  latestChange,
  type RecordsChange,
  requireUnchanged,
  rolledBack,
  withCandidate,
  withChange,
  withoutCandidate,
} from './activation-changes.js';
import { announcementOf } from './announcement.js';

/** What a rollback did. */
export interface RolledBack {
  readonly activeBundleId: string;
  /** The bundle that was active before; empty if only canaries have ended. */
  readonly previousBundleId: string;
  /** Canaries that serve nobody now. If there are any, the active bundle has not changed. */
  readonly endedCanaryIds: readonly string[];
}

/** A bundle of the shelf, or of its folders. */
export interface ListedBundle {
  readonly bundleId: string;
  readonly name: string;
  readonly loaded: boolean;
}

/** Throws if a bundle must not serve users in place of the active one. */
export type ServingCheck = (bundle: LoadedBundle, active: LoadedBundle) => void;

/**
 * The verified bundles of a pool, one of them active. A `knownChange` is the latest records change that the caller
 * knows; the switch throws conflict if a later one concerns the bundle's encoding. 0 compares nothing.
 */
export interface BundleShelf {
  /** Returns a bundle by its id; an empty id means the active bundle. Throws bundle_not_loaded. */
  get(bundleId: string): LoadedBundle;
  /** Ids of all bundles, the active one first. */
  ids(): readonly string[];
  announcement(): Announcement;
  /**
   * Makes a bundle a candidate, or changes its share. Looks for it in the bundle folders if it is not loaded. A larger
   * share is checked first.
   * @throws bundle_not_loaded, bundle_invalid, bundle_untrusted; invalid_request if it is active, or there are too many
   */
  setCandidate(candidate: Candidate, check?: ServingCheck, knownChange?: number): Promise<void>;
  /** Ends a candidate. Throws invalid_request if it is none. */
  cancelCandidate(bundleId: string, knownChange?: number): Promise<void>;
  /**
   * Makes a bundle active. Looks for it in the bundle folders if it is not loaded. Returns the id of the bundle that was
   * active before.
   * @throws bundle_not_loaded, bundle_invalid, bundle_untrusted
   */
  activate(bundleId: string, check?: ServingCheck, knownChange?: number): Promise<string>;
  /**
   * Ends the shares of all canaries. Without canaries, makes the previously active bundle active again. It is checked if
   * its records lack interactions.
   * @throws invalid_request if there was none, or if a rollback has left it
   */
  rollback(check?: ServingCheck, knownChange?: number): Promise<RolledBack>;
  /**
   * Notes a records change. If the records are `deleted`, a rollback to a bundle that has the encoding is checked.
   * Returns the announced bundles that have the encoding.
   */
  noteChange(change: { readonly encodingId: string; readonly deleted: boolean }): Promise<readonly AnnouncedBundle[]>;
  /** Returns the number of the latest records change; 1 before the first. */
  latestChange(): number;
  /** Returns the id of the bundle that is active after a rollback; empty if there is none to roll back to. */
  rollbackTarget(): string;
  /** Lists the loaded bundles, the active one first, and those of the bundle folders that are not loaded. */
  list(): Promise<ListedBundle[]>;
  /** Yields the announcement now and after every change, until the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<Announcement>;
  /**
   * Adopts the activation that another replica wrote to the file, unless its active bundle is lacking here. Looks for
   * lacking bundles again, after ever longer pauses.
   */
  refresh(): Promise<void>;
  close(): Promise<void>;
}

/** Options of {@link createBundleShelf}. */
export interface BundleShelfOptions {
  /** Bundle folders to load at first. */
  readonly dirs: readonly string[];
  /** Returns the bundle folders of now. Default: those to load at first. */
  readonly findDirs?: () => Promise<readonly string[]>;
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
  /** Called once for each bundle that another replica activated, or made a candidate, and this one lacks. */
  readonly onLacking?: (bundleId: string) => void;
}

/** A bundle that another replica has named, and this one lacks. */
interface Lacking {
  readonly looks: number;
  /** Refreshes to let pass before the next look. */
  readonly pause: number;
  /** Why it could not be loaded; empty if no folder has it. */
  readonly problem: string;
}

/** Most refreshes between two looks for a lacking bundle: a bundle that cannot be loaded is costly to try. */
const MOST_PAUSE = 64;
const CHANGE_TRIES = 10;

const COPY_IT = 'or copy its folder to CKV_BUNDLES_DIR of every replica, then make it warm';

/** A bundle that is left out, since it breaks the format, is not reproduced on this machine, or is not trusted. */
export interface LeftOutBundle {
  readonly dir: string;
  readonly problem: string;
}

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
  /** Bundles of the activation file that were not found at the latest look. */
  const lacking = new Map<string, Lacking>();
  const has = (bundleId: string) => bundles.has(bundleId);
  const encodingOf = (bundleId: string) => bundles.get(bundleId)?.model.encodingId;

  function adopt(next: Activation): void {
    activation = { ...next }; // watchers compare it with what they announced
    changes.emit('change');
  }

  function require(bundleId: string): LoadedBundle {
    const bundle = bundles.get(bundleId);
    if (bundle) return bundle;
    throw new CkvError(
      'bundle_not_loaded',
      `bundle_id: ${bundleId} is not loaded; use one of this pool: ${[...bundles.keys()].join(', ')}; ${COPY_IT}`,
      { field: 'bundle_id' },
    );
  }

  /** Returns the bundles of the folders. A folder that is being copied has none yet. */
  async function* inFolders(): AsyncIterable<{ dir: string; bundleId: string; manifestBytes: Buffer }> {
    for (const dir of (await options.findDirs?.()) ?? options.dirs) {
      const manifestBytes = await readManifestBytes(dir).catch(() => undefined);
      if (manifestBytes) yield { dir, bundleId: bundleIdOf(manifestBytes), manifestBytes };
    }
  }

  /** Loads a bundle if one of the folders has it. Throws bundle_invalid, bundle_untrusted. */
  async function lookFor(bundleId: string): Promise<void> {
    if (has(bundleId)) return;
    for await (const found of inFolders()) {
      if (found.bundleId !== bundleId) continue;
      const { dir } = found;
      const bundle = await load(dir, options);
      bundles.set(bundle.model.id, bundle);
      options.onLoaded?.(bundle);
      return;
    }
  }

  /** Looks for a bundle that another replica has named, after ever longer pauses. Returns true if it is found. */
  async function lookAgain(bundleId: string): Promise<boolean> {
    const { looks = 0, pause = 0, problem = '' } = lacking.get(bundleId) ?? {};
    if (pause > 0) {
      lacking.set(bundleId, { looks, pause: pause - 1, problem });
      return false;
    }
    let found = '';
    await lookFor(bundleId).catch((thrown: unknown) => {
      found = toCkvError(thrown).message;
    });
    if (has(bundleId)) return lacking.delete(bundleId) || true;
    if (found !== '' && found !== problem) options.onLeftOut?.({ dir: bundleId, problem: found });
    if (looks === 0) options.onLacking?.(bundleId);
    lacking.set(bundleId, { looks: looks + 1, pause: Math.min(2 ** looks, MOST_PAUSE), problem: found });
    return false;
  }

  /**
   * Adopts the activation of the file. Bundles that another replica has named are looked for. Returns the activation of
   * the file.
   */
  async function refresh(): Promise<Activation | undefined> {
    const stored = await activationFile.read();
    const named = stored ? [stored.active, ...(stored.candidates ?? []).map(({ bundleId }) => bundleId)] : [];
    for (const id of lacking.keys()) if (!named.includes(id)) lacking.delete(id);
    let found = false;
    for (const id of named) if (!has(id) && (await lookAgain(id))) found = true;
    if (stored && has(stored.active) && (found || !isDeepStrictEqual(stored, activation))) adopt(stored);
    return stored;
  }

  /** The latest change. The next one begins after it. */
  let latest: Promise<unknown> = Promise.resolve();
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = latest.catch(() => undefined).then(work);
    latest = result.catch(() => undefined);
    return result;
  }

  let refreshing: Promise<void> | undefined;

  /**
   * Changes the activation, on the newest one of the file. Returns the activation before.
   * @param activates true if another bundle becomes active, whatever the file names
   * @param noted a records change to note
   * @throws bundle_not_loaded if the active bundle of the file is lacking here, unless `activates`
   */
  async function change(
    next: (
      current: Activation,
      records: { readonly stale: readonly string[]; readonly changes: readonly RecordsChange[] },
    ) => Activation,
    options: {
      readonly activates?: boolean;
      readonly noted?: { readonly encodingId: string; readonly deleted: boolean };
    } = {},
  ): Promise<Activation> {
    const { activates = false, noted } = options;
    const deleted = noted?.deleted ? noted.encodingId : undefined;
    for (let tries = 0; tries < CHANGE_TRIES; tries++) {
      const stored = await refresh();
      // On another base, the change would also undo what another replica activated.
      if (stored && !activates) require(stored.active);
      const { stale: known = [], changes: _, ...before } = activation;
      const { changes = [] } = stored ?? activation;
      const emptied = before.previous.filter((id) => deleted !== undefined && encodingOf(id) === deleted);
      const stale = [...new Set([...known, ...unwritten(before), ...emptied])];
      const after = next(before, { stale, changes });
      if (!noted && isDeepStrictEqual(after, before)) return before;
      const stillStale = stale.filter((id) => after.previous.includes(id));
      const changed = noted ? withChange(changes, noted.encodingId) : changes;
      const written = {
        ...after,
        ...(stillStale.length > 0 ? { stale: stillStale } : {}),
        ...(changed.length > 0 ? { changes: [...changed] } : {}),
      };
      if (!(await activationFile.write(written, stored))) continue;
      adopt(written);
      return before;
    }
    throw new CkvError('conflict', 'other replicas of the pool kept changing the activation; try again');
  }

  /** Returns the previous bundles whose records nobody writes: no announced bundle has their encoding. */
  function unwritten(current: Activation): string[] {
    const encodings = announcementOf(current, encodingOf).bundles.map(({ bundleId }) => encodingOf(bundleId));
    return current.previous.filter((id) => !has(id) || !encodings.includes(encodingOf(id)));
  }

  return {
    get: (bundleId) => require(bundleId === '' ? activation.active : bundleId),
    ids: () => [activation.active, ...[...bundles.keys()].filter((id) => id !== activation.active)],
    announcement: () => announcementOf(activation, encodingOf),
    setCandidate: (candidate, check, knownChange = 0) =>
      inTurn(async () => {
        await lookFor(candidate.bundleId);
        const bundle = require(candidate.bundleId);
        await change((current, { changes }) => {
          const next = withCandidate(current, candidate);
          const before = current.candidates?.find(({ bundleId }) => bundleId === candidate.bundleId)?.shareBp ?? 0;
          if (candidate.shareBp <= before) return next;
          requireUnchanged(changes, bundle.model.encodingId, knownChange);
          check?.(bundle, require(current.active));
          return next;
        });
      }),
    cancelCandidate: (bundleId, knownChange = 0) =>
      inTurn(async () => {
        await change((current, { changes }) => {
          const next = withoutCandidate(current, bundleId);
          requireUnchanged(changes, encodingOf(bundleId) ?? '', knownChange);
          return next;
        });
      }),
    activate: (bundleId, check, knownChange = 0) =>
      inTurn(async () => {
        await lookFor(bundleId);
        const bundle = require(bundleId);
        const before = await change(
          (current, { changes }) => {
            requireUnchanged(changes, bundle.model.encodingId, knownChange);
            check?.(bundle, require(current.active));
            return activated(current, bundleId);
          },
          { activates: true },
        );
        return before.active;
      }),
    rollback: (check, knownChange = 0) =>
      inTurn(async () => {
        const { active, candidates = [] } = await change((current, { stale, changes }) => {
          const next = rolledBack(current);
          const target = require(next.active);
          if (next.active === current.active) return next;
          requireUnchanged(changes, target.model.encodingId, knownChange);
          if (stale.includes(next.active)) check?.(target, require(current.active));
          return next;
        });
        const ended = candidates.filter(({ shareBp }) => shareBp > 0).map(({ bundleId }) => bundleId);
        const previousBundleId = active === activation.active ? '' : active;
        return { activeBundleId: activation.active, previousBundleId, endedCanaryIds: ended };
      }),
    noteChange: (noted) =>
      inTurn(async () => {
        await change((current) => current, { noted });
        return announcementOf(activation, encodingOf).bundles.filter(
          (one) => encodingOf(one.bundleId) === noted.encodingId,
        );
      }),
    latestChange: () => latestChange(activation.changes ?? []),
    rollbackTarget() {
      try {
        return require(rolledBack(activation).active).model.id;
      } catch {
        return '';
      }
    },
    async list() {
      const loaded = [activation.active, ...bundles.keys()].map((bundleId) => {
        return { bundleId, name: require(bundleId).model.manifest.name, loaded: true };
      });
      const listed = new Map<string, ListedBundle>(loaded.map((one) => [one.bundleId, one]));
      for await (const { bundleId, manifestBytes } of inFolders()) {
        const name = nameIn(manifestBytes);
        if (name !== undefined && !listed.has(bundleId)) listed.set(bundleId, { bundleId, name, loaded: false });
      }
      return [...listed.values()];
    },
    async *watch(signal) {
      let announced: Activation | undefined;
      while (!signal.aborted) {
        if (announced === activation) await once(changes, 'change', { signal }).catch(() => undefined);
        if (signal.aborted) return;
        announced = activation;
        yield announcementOf(activation, encodingOf);
      }
    },
    refresh() {
      refreshing ??= inTurn(async () => void (await refresh())).finally(() => {
        refreshing = undefined;
      });
      return refreshing;
    },
    async close() {
      await Promise.all([...bundles.values()].map((bundle) => bundle.close()));
    },
  };
}

/** Returns the name of a bundle; undefined if its manifest is not one of this version. */
function nameIn(manifestBytes: Buffer): string | undefined {
  try {
    return parseManifest(manifestBytes).name;
  } catch {
    return undefined;
  }
}

/** Loads and verifies a bundle. Throws bundle_invalid, bundle_untrusted. */
function load(dir: string, { engine, privateDir, trust }: BundleShelfOptions): Promise<LoadedBundle> {
  return loadBundle(dir, engine, {
    graphs: [...GRAPH_NAMES, 'explain'],
    verifyGolden: true,
    trust,
    ...(privateDir === undefined ? {} : { privateDir }),
  });
}

/** Loads and verifies a bundle. Reports it, and returns its problem if it is left out. */
async function loadOrLeaveOut(dir: string, options: BundleShelfOptions): Promise<LoadedBundle | LeftOutBundle> {
  const { onLoaded, onLeftOut } = options;
  try {
    const bundle = await load(dir, options);
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
