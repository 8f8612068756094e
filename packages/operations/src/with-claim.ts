import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, steadyNowMs } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import { type ClaimOfOther, type EncodingClaim, type EncodingClaims, isClaimed } from '@collectivekv/update-queue';

/** The claim on an encoding, and what it protects. */
export interface HeldClaim {
  readonly claim: EncodingClaim;
  /** Deletes all records of the encoding. Refused after the claim is over. */
  dropRecords(): Promise<void>;
}

/** Parts of {@link withClaim}. */
export interface ClaimParts {
  readonly claims: EncodingClaims;
  readonly userCache: () => Pick<GrpcClient<'UserCacheService'>, 'call'>;
  readonly encodingId: string;
  /** Who takes the claim, for others that want it. */
  readonly by: string;
  /** Receives what is waited for. */
  readonly onProgress: (message: string) => void;
}

const POLL_MS = 200;
const CALL_TIMEOUT_MS = 60_000;

/**
 * Does work with the claim on an encoding: nobody else changes its backfill or deletes its records meanwhile. Waits
 * for the end of a claim whose process died.
 * @throws conflict if a process holds the claim that lives
 */
export async function withClaim<T>(parts: ClaimParts, work: (held: HeldClaim) => Promise<T>): Promise<T> {
  const { userCache, encodingId } = parts;
  const claim = await take(parts);
  let mayBeLate = false;
  try {
    return await work({
      claim,
      async dropRecords() {
        mayBeLate = true;
        let cursor = '';
        do {
          const request = { encodingId, cursor, validUntilMs: claim.validUntilMs() };
          const limits = { deadlineMs: steadyNowMs() + CALL_TIMEOUT_MS };
          ({ nextCursor: cursor } = await userCache().call('DropRecords', request, limits));
        } while (cursor !== '');
        mayBeLate = false;
      },
    });
  } finally {
    // A deletion that failed may still arrive, until the claim ends. Nobody else may have the claim before.
    if (mayBeLate) claim.leave();
    else await claim.release();
  }
}

async function take({ claims, encodingId, by, onProgress }: ClaimParts): Promise<EncodingClaim> {
  const me = `${by}, process ${process.pid} on ${hostname()}`;
  let first: ClaimOfOther | undefined;
  for (;;) {
    const taken = await claims.take(encodingId, me);
    if (isClaimed(taken)) return taken;
    first ??= taken;
    if (taken.holder !== first.holder || taken.endsMs !== first.endsMs) throw held(encodingId, taken.holder);
    onProgress(`waiting until the claim of ${taken.holder} ends, or is renewed`);
    await sleep(POLL_MS);
  }
}

function held(encodingId: string, holder: string): CkvError {
  const text = `encoding ${encodingId} of the bundle is in the hands of ${holder}; wait until it ends, or end it`;
  return new CkvError('conflict', text);
}
