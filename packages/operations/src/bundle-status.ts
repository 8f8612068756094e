import { steadyNowMs } from '@collectivekv/domain';
import type { ResponseOf } from '@collectivekv/rpc';
import { type ListedBundle, listBundles, type ReachesPool } from './bundle-states.js';

/** The state of one bundle. */
export interface BundleStatus {
  readonly id: string;
  readonly name: string;
  readonly encodingId: string;
  readonly state: string;
  /** Share of the users that a canary serves, in parts per 10,000; 0 in every other state. */
  readonly shareBp: number;
  /** True if the bundle is active after a rollback. While there are canaries, this is the active one itself. */
  readonly rollbackTarget: boolean;
  /**
   * Rank requests that were looked at, and those whose users have a warm record under the bundle. Null if the bundle has
   * the encoding of the active one, which is warm by definition, or if other services do not keep it loaded.
   */
  readonly coverage: { readonly sampledCount: number; readonly warmCount: number } | null;
  /** The replicas that follow the pool, if they keep the bundle. */
  readonly followers: readonly { readonly service: string; readonly replicaId: string; readonly loaded: boolean }[];
}

/**
 * Returns the status of all bundles of the pool, the active one first.
 * @param listed the bundles, if the caller has listed them
 */
export async function bundleStatus(
  connections: ReachesPool,
  listed?: readonly ListedBundle[],
): Promise<BundleStatus[]> {
  const limits = { deadlineMs: steadyNowMs() + 10_000 };
  const [bundles, { followers }] = await Promise.all([
    listed ?? listBundles(connections),
    connections.pool().call('ListFollowers', {}, limits),
  ]);
  const active = bundles[0]?.encodingId;
  return bundles.map((bundle) => statusOf(bundle, active, followers));
}

function statusOf(
  { id, encodingId, state, shareBp, announced, rollbackTarget, manifest }: ListedBundle,
  activeEncodingId: string | undefined,
  followers: ResponseOf<'PoolService', 'ListFollowers'>['followers'],
): BundleStatus {
  const reports = followers.flatMap(({ service, replicaId, bundles }) =>
    bundles.filter(({ bundleId }) => bundleId === id).map((report) => ({ service, replicaId, ...report })),
  );
  const sum = (count: 'sampledCount' | 'warmCount') => reports.reduce((total, report) => total + report[count], 0);
  const measured = announced && encodingId !== activeEncodingId;
  return {
    id,
    name: manifest.name,
    encodingId,
    state,
    shareBp,
    rollbackTarget,
    coverage: measured ? { sampledCount: sum('sampledCount'), warmCount: sum('warmCount') } : null,
    followers: reports.map(({ service, replicaId, loaded }) => ({ service, replicaId, loaded })),
  };
}
