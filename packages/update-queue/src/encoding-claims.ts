import { randomUUID } from 'node:crypto';
import { CkvError } from '@collectivekv/domain';
import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { CLOCK_MARGIN_MS } from './lease-table.js';
import { readScript } from './lua-script.js';
import { encodingClaimsKey } from './queue-names.js';

/**
 * The right of one process to change the warming of an encoding, and to delete its records. The claim is renewed until
 * it is released. A process that was stopped, and comes back after somebody else has had the claim, is refused.
 */
export interface EncodingClaim {
  readonly encodingId: string;
  /** Unique to this claim. Scripts compare it. */
  readonly token: string;
  /**
   * Returns the end of the claim's fence: the last Unix ms, by Redis's clock, at which records are deleted. Read it
   * just before the call.
   */
  validUntilMs(): number;
  /** Ends the renewals and gives the claim back. Call it only if no deletion of records can be late. */
  release(): Promise<void>;
  /** Ends the renewals. The claim ends by itself. */
  leave(): void;
}

/** A claim of another process. */
export interface ClaimOfOther {
  /** Who has it, for people. */
  readonly holder: string;
  /** When it ends unless it is renewed, Unix ms by Redis's clock. */
  readonly endsMs: number;
}

/** The claims on encodings. Throws dependency_unavailable. */
export interface EncodingClaims {
  /** Takes the claim on an encoding, unless another process has it. */
  take(encodingId: string, holder: string): Promise<EncodingClaim | ClaimOfOther>;
}

/** How long a claim lasts without renewal, and so how long a dead process keeps others from its encoding. */
export const CLAIM_MS = 10_000;
const RENEWAL_MS = CLAIM_MS / 4;

type Step = 'take' | 'renew' | 'release';

interface Commands {
  ckvClaimEncoding(
    key: string,
    step: Step,
    encodingId: string,
    token: string,
    ttlMs: number,
    holder: string,
  ): Promise<[held: 0 | 1, endsMs: number, holder?: string]>;
}

const CLAIM = readScript('claim-encoding-1.lua');

/** Opens the claims. */
export function openEncodingClaims(client: RedisClient, keyPrefix: string): EncodingClaims {
  client.defineCommand('ckvClaimEncoding', CLAIM);
  const commands = client as unknown as Commands;
  const key = encodingClaimsKey(keyPrefix);

  function holding(encodingId: string, token: string, firstEndMs: number): EncodingClaim {
    let endsMs = firstEndMs;
    let renewing = false;
    async function renew(): Promise<void> {
      if (renewing) return;
      renewing = true;
      try {
        const [held, ends] = await commands.ckvClaimEncoding(key, 'renew', encodingId, token, CLAIM_MS, '');
        if (held === 1) endsMs = ends;
        else clearInterval(timer);
      } catch {
        // Redis is away. The next renewal may come in time; if not, the scripts refuse this claim.
      } finally {
        renewing = false;
      }
    }
    const timer = setInterval(() => void renew(), RENEWAL_MS);
    timer.unref();
    const leave = () => clearInterval(timer);
    return {
      encodingId,
      token,
      validUntilMs: () => endsMs - CLOCK_MARGIN_MS,
      async release() {
        leave();
        await reachingRedis(() => commands.ckvClaimEncoding(key, 'release', encodingId, token, CLAIM_MS, ''));
      },
      leave,
    };
  }

  return {
    take: (encodingId, holder) =>
      reachingRedis(async () => {
        const token = randomUUID();
        const answer = await commands.ckvClaimEncoding(key, 'take', encodingId, token, CLAIM_MS, holder);
        const [held, endsMs, other = ''] = answer;
        return held === 1 ? holding(encodingId, token, endsMs) : { holder: other, endsMs };
      }),
  };
}

/** True if the caller has the claim. */
export function isClaimed(taken: EncodingClaim | ClaimOfOther): taken is EncodingClaim {
  return 'token' in taken;
}

/** Returns the error for a process whose claim is over. */
export function claimOver({ encodingId }: Pick<EncodingClaim, 'encodingId'>): CkvError {
  const text = `another process has had the claim on encoding ${encodingId} since; run the command again`;
  return new CkvError('conflict', text);
}
