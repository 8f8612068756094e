import { createHash } from 'node:crypto';

/** The unit of a canary's share: 10,000 parts are all users. */
export const WHOLE_SHARE_BP = 10_000;

/** A bundle that serves a share of the users. */
export interface Canary {
  readonly bundleId: string;
  /** Share of the users, in parts per 10,000. */
  readonly shareBp: number;
}

/**
 * Returns whether a canary serves a user. The answer is the same on every machine. A user who is served at one share is
 * served at every larger one. The hash begins with the bundle, so the users of one canary are independent of those of
 * another.
 */
export function servesUser({ bundleId, shareBp }: Canary, userId: string): boolean {
  const hash = createHash('sha256').update(`canary:${bundleId}:${userId}`).digest();
  return hash.readUInt32BE(0) < (shareBp / WHOLE_SHARE_BP) * 2 ** 32;
}
