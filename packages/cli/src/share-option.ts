import { WHOLE_SHARE_BP } from '@collectivekv/domain';
import { InvalidArgumentError } from 'commander';

/**
 * Reads a share such as `5%` or `0.25%`.
 * @returns parts per 10,000, at least 1
 * @throws InvalidArgumentError
 */
export function shareBp(text: string): number {
  const [, percent] = /^(\d{1,3}(?:\.\d{1,2})?)%$/.exec(text) ?? [];
  const share = Math.round(Number(percent) * 100);
  if (share >= 1 && share <= WHOLE_SHARE_BP) return share;
  throw new InvalidArgumentError('Give a percentage from 0.01% to 100%, such as 5%.');
}

/** Returns a share as a percentage. */
export function percent(bp: number): string {
  return `${bp / 100}%`;
}
