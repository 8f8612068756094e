import type { RpcLog } from '../observers.js';

/** A call whose token lacks the role. */
export interface Refusal {
  readonly rpc: string;
  /** The roles of which the token needs one. */
  readonly missing: string;
  /** The token's label; '' if it has none. */
  readonly caller: string;
}

const WARN_EVERY_MS = 60_000;

/**
 * Returns a function that warns of refused calls, at most once a minute for each label and RPC: a caller may send any
 * number.
 * @param nowMs a clock that never goes back
 */
export function createRefusalLog(log: Pick<RpcLog, 'warn'>, nowMs = () => performance.now()) {
  const warnedMs = new Map<string, number>();
  return (refusal: Refusal): void => {
    const key = `${refusal.rpc} ${refusal.caller}`;
    const now = nowMs();
    for (const [other, ms] of warnedMs) if (now - ms >= WARN_EVERY_MS) warnedMs.delete(other);
    if (warnedMs.has(key)) return;
    warnedMs.set(key, now);
    log.warn(refusal, 'permission denied');
  };
}
