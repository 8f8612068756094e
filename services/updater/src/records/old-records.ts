import { setTimeout as sleep } from 'node:timers/promises';
import type { BundleFollower } from '@collectivekv/bundles';
import { steadyNowMs, toCkvError } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { Logger } from '@collectivekv/service-kit';
import { type EncodingClaim, type EncodingClaims, isClaimed, type RecordEncodings } from '@collectivekv/update-queue';

/** Parts of {@link removeOldRecords}. */
export interface OldRecordsParts {
  readonly bundles: Pick<BundleFollower, 'announced' | 'all'>;
  readonly recordEncodings: Pick<RecordEncodings, 'note' | 'stale' | 'forget'>;
  readonly claims: EncodingClaims;
  /** True if a backfill of an encoding is under way. */
  readonly isBeingWarmed: (encodingId: string) => Promise<boolean>;
  /** Forgets that a backfill of the encoding was finished. */
  readonly forgetFinished: (claim: EncodingClaim) => Promise<unknown>;
  readonly userCache: Pick<GrpcClient<'UserCacheService'>, 'call'>;
  /** How long no updater must have followed an encoding. */
  readonly graceMs: number;
  /** Pause between two calls, each of which looks at about a hundred thousand keys. */
  readonly pauseMs: number;
  readonly log: Pick<Logger, 'info'>;
  readonly signal: AbortSignal;
}

/** How often an updater asks for the turn. */
const CHECK_MS = 600_000;
/** How long an updater has the turn. */
const TURN_MS = 3_600_000;
/** With the time of a call, about 10,000 keys a second are looked at. */
const CALL_PAUSE_MS = 10_000;
const CALL_TIMEOUT_MS = 60_000;

/**
 * Removes the records of encodings that no updater has followed for the grace time, with the claim on the encoding: a
 * call that comes late deletes nothing of a backfill. Encodings that this updater follows are noted first. Does nothing
 * while an announced bundle is not loaded, because its encoding is unknown then.
 * @returns the number of removed records
 */
export async function removeOldRecords(parts: OldRecordsParts): Promise<number> {
  let removedCount = 0;
  for (const encodingId of await staleEncodings(parts)) {
    const claim = await parts.claims.take(encodingId, 'an updater that removes old records');
    if (!isClaimed(claim)) continue; // a backfill begins
    let count = 0;
    try {
      count = await removeRecords(parts, claim);
    } catch (thrown) {
      claim.leave(); // the call that failed may still arrive, until the claim ends
      throw thrown;
    }
    await claim.release();
    if (count > 0) parts.log.info({ encodingId, count }, 'records of an encoding that no bundle has were removed');
    removedCount += count;
  }
  return removedCount;
}

async function removeRecords(parts: OldRecordsParts, claim: EncodingClaim): Promise<number> {
  const { recordEncodings, graceMs, signal } = parts;
  const { encodingId } = claim;
  let cursor = '';
  let count = 0;
  do {
    // A bundle of the encoding may have been announced again.
    if (signal.aborted || !(await staleEncodings(parts)).includes(encodingId)) break;
    if (await parts.isBeingWarmed(encodingId)) break;
    const limits = { deadlineMs: steadyNowMs() + CALL_TIMEOUT_MS, signal };
    const request = { encodingId, cursor, validUntilMs: claim.validUntilMs() };
    const { droppedCount, nextCursor } = await parts.userCache.call('DropRecords', request, limits);
    count += droppedCount;
    cursor = nextCursor;
    if (cursor === '') {
      await parts.forgetFinished(claim);
      await recordEncodings.forget(encodingId, graceMs);
    } else await sleep(parts.pauseMs, undefined, { signal }).catch(() => undefined);
  } while (cursor !== '');
  return count;
}

async function staleEncodings({ bundles, recordEncodings, graceMs }: OldRecordsParts): Promise<string[]> {
  const loaded = bundles.all();
  const ids = new Set(loaded.map(({ model }) => model.id));
  const announced = bundles.announced();
  if (announced.length === 0 || announced.some(({ bundleId }) => !ids.has(bundleId))) return [];
  const followed = loaded.map(({ model }) => model.encodingId);
  await recordEncodings.note(followed);
  return (await recordEncodings.stale(graceMs)).filter((id) => !followed.includes(id));
}

/** Removes old records now and then: one of all updaters has the turn, for an hour. Returns a function that ends it. */
export function watchOldRecords(
  parts: Omit<OldRecordsParts, 'pauseMs' | 'signal' | 'recordEncodings' | 'log'> & {
    readonly recordEncodings: RecordEncodings;
    readonly log: Pick<Logger, 'info' | 'warn'>;
  },
): () => Promise<void> {
  const stop = new AbortController();
  const { signal } = stop;
  async function work(): Promise<void> {
    for (;;) {
      await sleep(CHECK_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        if (await parts.recordEncodings.takeTurn(TURN_MS)) {
          await removeOldRecords({ ...parts, pauseMs: CALL_PAUSE_MS, signal });
        }
      } catch (thrown) {
        const { reason, message } = toCkvError(thrown);
        if (!signal.aborted) parts.log.warn({ reason, problem: message }, 'old records cannot be removed');
      }
    }
  }
  const working = work();
  return async () => {
    stop.abort();
    await working;
  };
}
