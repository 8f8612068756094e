import { type CkvError, invalidRequest, parseManifest, steadyNowMs, toCkvError } from '@collectivekv/domain';
import {
  type BundleState,
  backfillOf,
  type HeldClaim,
  latestChange,
  listBundles,
  noteRecordsChange,
  withClaim,
} from '@collectivekv/operations';
import type { Warming } from '@collectivekv/update-queue';
import { bundleIdOf } from './bundle-id.js';
import type { Connections } from './connections.js';
import { progress, warn } from './progress.js';

/** A bundle whose records nobody reads yet. */
export interface Candidate {
  readonly bundleId: string;
  readonly encodingId: string;
  /** Names of its interaction features. */
  readonly features: readonly string[];
}

/** A bundle whose encoding this process has the claim on. */
export interface HeldCandidate extends HeldClaim {
  readonly candidate: Candidate;
  /** A bundle with the encoding that serves users, or may serve them after a rollback. No other one begins to. */
  readonly served: BundleState | undefined;
  /** Makes the bundle warm, unless it is. If the work fails and leaves no backfill, this is taken back. */
  makeWarm(): Promise<void>;
}

/**
 * Does work on a bundle with the claim on its encoding. Its coverage is measured anew when the work is done. Work that
 * fails leaves no bundle warm for a backfill that did not begin.
 */
export async function claimed<T>(
  connections: Connections,
  idOrName: string,
  command: string,
  work: (held: HeldCandidate) => Promise<T>,
): Promise<T> {
  const bundleId = await bundleIdOf(connections, idOrName, { orCopied: true });
  // A bundle that the pool has not loaded yet has no encoding that is known, and serves nobody.
  const known = (await listBundles(connections)).some(({ id }) => id === bundleId);
  let made = !known;
  if (!known) await setWarm(connections, bundleId);
  const candidate = await candidateOf(connections, bundleId);
  const { encodingId } = candidate;
  const claims = await connections.claims();
  const userCache = () => connections.userCache();
  const parts = { claims, userCache, encodingId, by: `"ckv ${command}"`, onProgress: progress };
  return withClaim(parts, async (held) => {
    const served = servedOf(await noteRecordsChange(connections, { encodingId }));
    async function makeWarm(): Promise<void> {
      const found = (await listBundles(connections)).find(({ id }) => id === bundleId);
      if (found?.state === 'warming') return;
      made = true;
      await setWarm(connections, bundleId);
    }
    try {
      const done = await work({ ...held, candidate, served, makeWarm });
      await noteRecordsChange(connections, { encodingId });
      return done;
    } catch (thrown) {
      if (made) await dropUnused(connections, candidate);
      throw thrown;
    }
  });
}

async function setWarm(connections: Connections, bundleId: string): Promise<void> {
  await connections.pool().call('SetCandidate', { bundleId }, deadline());
}

/** Ends a candidate that no backfill uses. */
async function dropUnused(connections: Connections, { bundleId, encodingId }: Candidate): Promise<void> {
  try {
    const knownChange = await latestChange(connections);
    if (await backfillOf(connections, encodingId)) return;
    await connections.pool().call('CancelCandidate', { bundleId, knownChange }, deadline());
  } catch (thrown) {
    warn(`bundle ${bundleId} stays warm (${toCkvError(thrown).message}); "ckv bundle cancel ${bundleId}" drops it`);
  }
}

/**
 * Makes a bundle warm, unless it is, and returns it. Call it with the claim on its encoding.
 * @throws invalid_request if its records serve users already, or are kept for a rollback, and no backfill of them is
 * under way
 */
export async function warmCandidate(
  connections: Connections,
  { candidate, served, makeWarm }: HeldCandidate,
): Promise<Candidate> {
  if (!served) await makeWarm();
  else if (!(await backfillOf(connections, candidate.encodingId))) throw servedError(served, undefined);
  return candidate;
}

/** Deletes the records of a backfill that begins, unless they serve users by now. */
export async function dropUnserved(connections: Connections, { candidate, dropRecords }: HeldCandidate): Promise<void> {
  const { encodingId } = candidate;
  const served = servedOf(await noteRecordsChange(connections, { encodingId, deleted: true }));
  if (served && served.state !== 'previous') throw servedError(served, await backfillOf(connections, encodingId));
  await dropRecords();
}

/** Returns a bundle that serves users, or may serve them after a rollback. */
function servedOf(bundles: readonly BundleState[]): BundleState | undefined {
  const served = bundles.filter(({ state }) => state !== 'warming');
  return served.find(({ state }) => state !== 'previous') ?? served[0];
}

const LOST =
  'if they are lost, "ckv bundle renew" writes a copy of the bundle with an encoding of its own: backfill the copy, and activate it';

/** Returns the error for records that are not to be deleted, or built anew. */
export function servedError({ id, state }: BundleState, backfill: Warming | undefined): CkvError {
  const problem = `has the encoding of bundle ${id}, which is ${state}`;
  const release: Readonly<Record<string, string>> = {
    active: 'make another bundle active first ("ckv bundle activate" or "ckv bundle rollback")',
    canary: `end the canary first ("ckv bundle cancel ${id}")`,
  };
  if (!backfill) {
    const again = `to build them anew, ${release[state] ?? `run "ckv bundle warm ${id}" first`}`;
    const remedy = state === 'active' ? LOST : again;
    return invalidRequest('--bundle', problem, `its records exist already, and nothing is to be done; ${remedy}`);
  }
  const remedy = `its records would be deleted while they serve users; ${release[state]}, then cancel the backfill`;
  return invalidRequest('--bundle', problem, remedy);
}

async function candidateOf(connections: Connections, bundleId: string): Promise<Candidate> {
  const { encodingId, manifest } = await connections.pool().call('Describe', { bundleId }, deadline());
  return { bundleId, encodingId, features: parseManifest(manifest).features.interaction.map(({ name }) => name) };
}

function deadline(): { deadlineMs: number } {
  return { deadlineMs: steadyNowMs() + 60_000 };
}
