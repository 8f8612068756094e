import { CkvError, toCkvError } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { EncodingClaims, Warming, Warmings } from '@collectivekv/update-queue';
import { type ListedBundle, latestChange, listBundles, type ReachesPool } from './bundle-states.js';
import { warmingText } from './warming-text.js';
import { withClaim } from './with-claim.js';

/** Reaches what a switch of bundles depends on. */
export interface ReachesBackfills extends ReachesPool {
  userCache(): Pick<GrpcClient<'UserCacheService'>, 'call'>;
  warmings(): Promise<Pick<Warmings, 'all'>>;
  claims(): Promise<EncodingClaims>;
  /** Receives what is waited for. */
  note(message: string): void;
}

/** Returns the backfill of an encoding; undefined if there is none. */
export async function backfillOf(connections: ReachesBackfills, encodingId: string): Promise<Warming | undefined> {
  return (await (await connections.warmings()).all()).find((one) => one.encodingId === encodingId);
}

/** True if the records of the encoding have every interaction. */
export function isComplete({ partitions }: Warming): boolean {
  return partitions.every(({ phase }) => phase === 'live');
}

/**
 * Makes a change by which a bundle may serve users. No backfill of its encoding begins meanwhile. If this process is
 * stopped and one begins nevertheless, the pool refuses the change.
 * @param by who makes the change, for others that wait
 * @param change receives the latest records change from before the check, for the pool
 * @throws bundle_cold if a backfill of its encoding is not complete: records that serve can be neither completed nor
 * deleted safely
 */
export async function whenComplete<T>(
  connections: ReachesBackfills,
  { bundleId, by }: { readonly bundleId: string; readonly by: string },
  change: (knownChange: number) => Promise<T>,
): Promise<T> {
  const knownChange = await latestChange(connections);
  const bundles = await listBundles(connections);
  const bundle = bundles.find(({ id }) => id === bundleId);
  if (!bundle) {
    await refuseUnknown(connections, bundleId);
    return change(knownChange);
  }
  if (servesAlready(bundles, bundle)) return change(knownChange);
  await refuseUnfinished(connections, bundle);
  return claimed(connections, { encodingId: bundle.encodingId, by }, async () => {
    await refuseUnfinished(connections, bundle);
    return change(knownChange);
  });
}

/**
 * Ends a candidate, unless it is the last bundle of an encoding that has a backfill: no updater could go on with it.
 * @param change receives the latest records change from before the check, for the pool
 * @throws invalid_request if it is
 */
export async function cancelCandidate<T>(
  connections: ReachesBackfills,
  bundleId: string,
  change: (knownChange: number) => Promise<T>,
): Promise<T> {
  const knownChange = await latestChange(connections);
  const bundles = await listBundles(connections);
  const bundle = bundles.find(({ id }) => id === bundleId);
  // The end of a canary must not depend on the queue's Redis.
  if (bundle?.state !== 'warming' || hasTwin(bundles, bundle)) return change(knownChange);
  return claimed(connections, { encodingId: bundle.encodingId, by: '"ckv bundle cancel"' }, async () => {
    const backfill = await backfillOf(connections, bundle.encodingId);
    if (!backfill) return change(knownChange);
    const problem = `bundle_id: a backfill of its encoding is under way (${warmingText(backfill)})`;
    const text = `${problem}; end it first: "ckv backfill cancel --bundle ${bundleId}"`;
    throw new CkvError('invalid_request', text, { field: 'bundle_id' });
  });
}

/**
 * Refuses a rollback to a bundle whose backfill is not complete. A rollback must not depend on the queue's Redis: if it
 * is away, `onUnknown` receives the problem.
 * @returns the latest records change from before the check, for the pool
 */
export async function refuseUnfinishedRollback(
  connections: ReachesBackfills,
  onUnknown: (problem: string) => void,
): Promise<number> {
  const knownChange = await latestChange(connections);
  const bundles = await listBundles(connections);
  const target = bundles.find(({ rollbackTarget }) => rollbackTarget);
  if (!target || servesAlready(bundles, target)) return knownChange;
  try {
    await refuseUnfinished(connections, target);
  } catch (thrown) {
    const error = toCkvError(thrown);
    if (error.reason !== 'dependency_unavailable') throw error;
    onUnknown(`it is unknown whether bundle ${target.id} has an unfinished backfill: ${error.message}`);
  }
  return knownChange;
}

async function refuseUnfinished(connections: ReachesBackfills, { id, encodingId }: ListedBundle): Promise<void> {
  const backfill = await backfillOf(connections, encodingId);
  if (!backfill || isComplete(backfill)) return;
  const problem = `the backfill of bundle ${id} is not complete (${warmingText(backfill)})`;
  const remedy = `wait for "ckv backfill", or run it again with the same files; "ckv backfill cancel --bundle ${id}" ends it`;
  throw new CkvError('bundle_cold', `bundle_id: ${problem}; ${remedy}`, { field: 'bundle_id' });
}

/** Refuses a bundle that the pool has not loaded, if it may have the encoding of an unfinished backfill. */
async function refuseUnknown(connections: ReachesBackfills, bundleId: string): Promise<void> {
  const all = await (await connections.warmings()).all();
  if (all.every(isComplete)) return;
  const problem = 'is not loaded, and a backfill is under way, which may be of its encoding';
  const text = `bundle_id: ${bundleId} ${problem}; run "ckv bundle warm ${bundleId}" first`;
  throw new CkvError('bundle_cold', text, { field: 'bundle_id' });
}

/** True if the active bundle has the encoding. */
function servesAlready(bundles: readonly ListedBundle[], { encodingId }: ListedBundle): boolean {
  return bundles.some((one) => one.state === 'active' && one.encodingId === encodingId);
}

/** True if another announced bundle has the encoding. */
function hasTwin(bundles: readonly ListedBundle[], { id, encodingId }: ListedBundle): boolean {
  return bundles.some((one) => one.announced && one.id !== id && one.encodingId === encodingId);
}

async function claimed<T>(
  connections: ReachesBackfills,
  { encodingId, by }: { readonly encodingId: string; readonly by: string },
  work: () => Promise<T>,
): Promise<T> {
  const claims = await connections.claims();
  const userCache = () => connections.userCache();
  return withClaim({ claims, userCache, encodingId, by, onProgress: connections.note }, work);
}
