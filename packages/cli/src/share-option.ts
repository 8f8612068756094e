import { parseShare, SHARE_FORM, WHOLE_SHARE_BP } from '@collectivekv/domain';
import { InvalidArgumentError } from 'commander';

/**
 * Reads a share of 0.01% or more.
 * @returns parts per 10,000
 * @throws InvalidArgumentError
 */
export function shareBp(text: string): number {
  const parts = (parseShare(text) ?? 0) * WHOLE_SHARE_BP;
  const whole = Math.round(parts);
  if (whole >= 1 && Math.abs(whole - parts) < 1e-6) return whole;
  throw new InvalidArgumentError(`Give ${SHARE_FORM}, in steps of 0.01%.`);
}

/** Returns a share as a percentage. */
export function percent(bp: number): string {
  return `${bp / 100}%`;
}
