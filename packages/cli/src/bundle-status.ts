import { counted, steadyNowMs } from '@collectivekv/domain';
import type { ResponseOf } from '@collectivekv/rpc';
import { type ListedBundle, listBundles } from './bundle-states.js';
import type { Connections } from './connections.js';
import { table } from './print.js';
import { percent } from './share-option.js';

/** The state of one bundle. */
export interface BundleStatus {
  readonly id: string;
  readonly name: string;
  readonly encodingId: string;
  readonly state: string;
  /** Share of the users that a canary serves, in parts per 10,000; 0 in every other state. */
  readonly shareBp: number;
  /**
   * Rank requests that were looked at, and those whose users have a warm record under the bundle. Null if the bundle has
   * the encoding of the active one, which is warm by definition, or if other services do not keep it loaded.
   */
  readonly coverage: { readonly sampledCount: number; readonly warmCount: number } | null;
  /** The replicas that follow the pool, if they keep the bundle. */
  readonly followers: readonly { readonly service: string; readonly replicaId: string; readonly loaded: boolean }[];
}

/** Returns the status of all bundles of the pool, the active one first. */
export async function bundleStatus(connections: Connections): Promise<BundleStatus[]> {
  const limits = { deadlineMs: steadyNowMs() + 10_000 };
  const [bundles, { followers }] = await Promise.all([
    listBundles(connections),
    connections.pool().call('ListFollowers', {}, limits),
  ]);
  const active = bundles[0]?.encodingId;
  return bundles.map((bundle) => statusOf(bundle, active, followers));
}

/** Returns the status of bundles as a table. */
export function statusTable(bundles: readonly BundleStatus[]): string {
  return table(
    ['id', 'name', 'encoding', 'state', 'share', 'coverage', 'loaded by'],
    bundles.map((one) => [
      one.id,
      one.name,
      one.encodingId,
      one.state,
      one.shareBp > 0 ? percent(one.shareBp) : '',
      coverageText(one, bundles[0]?.encodingId),
      loadedText(one),
    ]),
  );
}

function statusOf(
  { id, encodingId, state, shareBp, announced, manifest }: ListedBundle,
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
    coverage: measured ? { sampledCount: sum('sampledCount'), warmCount: sum('warmCount') } : null,
    followers: reports.map(({ service, replicaId, loaded }) => ({ service, replicaId, loaded })),
  };
}

function coverageText({ coverage, encodingId }: BundleStatus, activeEncodingId: string | undefined): string {
  if (encodingId === activeEncodingId) return 'records of the active bundle';
  if (!coverage) return '';
  if (coverage.sampledCount === 0) return 'unknown';
  const share = (coverage.warmCount / coverage.sampledCount) * 100;
  return `${share.toFixed(1)}% of ${counted(coverage.sampledCount, 'request')}`;
}

/** Returns how many replicas of each service have loaded the bundle: `ranking 2 of 3, updater 1 of 1`. */
function loadedText({ followers }: BundleStatus): string {
  const services = [...new Set(followers.map(({ service }) => service))].sort();
  return services
    .map((service) => {
      const replicas = followers.filter((one) => one.service === service);
      return `${service} ${replicas.filter(({ loaded }) => loaded).length} of ${replicas.length}`;
    })
    .join(', ');
}
