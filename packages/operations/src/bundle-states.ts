import { CkvError, type Manifest, parseManifest, steadyNowMs } from '@collectivekv/domain';
import type { GrpcClient, ResponseOf } from '@collectivekv/rpc';

/** Reaches the pool service. */
export interface ReachesPool {
  pool(): Pick<GrpcClient<'PoolService'>, 'call' | 'stream'>;
}

/** A bundle of the pool. */
export interface ListedBundle {
  readonly id: string;
  readonly encodingId: string;
  /** What the bundle is for, in words for people. */
  readonly state: string;
  /** Share of the users that a canary serves, in parts per 10,000; 0 in every other state. */
  readonly shareBp: number;
  /** True if the other services keep the bundle loaded. */
  readonly announced: boolean;
  /** True if the bundle is active after a rollback. While there are canaries, this is the active one itself. */
  readonly rollbackTarget: boolean;
  readonly manifest: Manifest;
}

const STATES: Readonly<Record<string, string>> = {
  BUNDLE_STATE_ACTIVE: 'active',
  BUNDLE_STATE_CANARY: 'canary',
  BUNDLE_STATE_WARMING: 'warming',
  BUNDLE_STATE_PREVIOUS: 'previous',
};
const DEADLINE_MS = 10_000;

/** Returns the bundles that the pool has loaded, the active one first. */
export async function listBundles(connections: ReachesPool): Promise<ListedBundle[]> {
  const deadline = () => ({ deadlineMs: steadyNowMs() + DEADLINE_MS });
  const describe = (bundleId: string) => connections.pool().call('Describe', { bundleId }, deadline());
  const [{ loadedBundleIds, rollbackBundleId }, announcement] = await Promise.all([
    describe(''),
    announcementOf(connections),
  ]);
  const announced = new Map(announcement.bundles.map((one) => [one.bundleId, one]));
  const listing = loadedBundleIds.map(async (id) => {
    const one = announced.get(id);
    const { encodingId, manifest } = await describe(id);
    return {
      id,
      encodingId,
      state: STATES[one?.state ?? ''] ?? 'loaded',
      shareBp: one?.shareBp ?? 0,
      announced: one !== undefined,
      rollbackTarget: id === rollbackBundleId,
      manifest: parseManifest(manifest),
    };
  });
  return Promise.all(listing);
}

/** What a bundle is for: `active`, `canary`, `warming`, `previous`. */
export interface BundleState {
  readonly id: string;
  readonly state: string;
}

/**
 * Notes in the pool that a command begins or ends to build or delete the records of an encoding. The pool refuses
 * switches to bundles of the encoding that were prepared before.
 * @param deleted true before the records are deleted
 * @returns the announced bundles that have the encoding
 */
export async function noteRecordsChange(
  connections: ReachesPool,
  { encodingId, deleted = false }: { readonly encodingId: string; readonly deleted?: boolean },
): Promise<BundleState[]> {
  const limits = { deadlineMs: steadyNowMs() + DEADLINE_MS };
  const { bundles } = await connections.pool().call('NoteRecordsChange', { encodingId, deleted }, limits);
  return bundles.map(({ bundleId, state }) => ({ id: bundleId, state: STATES[state] ?? '' }));
}

/** Returns the number of the latest records change that the pool knows. */
export async function latestChange(connections: ReachesPool): Promise<number> {
  const limits = { deadlineMs: steadyNowMs() + DEADLINE_MS };
  return (await connections.pool().call('Describe', {}, limits)).latestChange;
}

/** Returns what the pool announces to the other services. */
export async function announcementOf(connections: ReachesPool): Promise<ResponseOf<'PoolService', 'WatchBundles'>> {
  const announcements = connections.pool().stream('WatchBundles', {}, { deadlineMs: steadyNowMs() + DEADLINE_MS });
  for await (const announcement of announcements) return announcement;
  throw new CkvError('dependency_unavailable', 'the pool service shuts down; try again');
}
