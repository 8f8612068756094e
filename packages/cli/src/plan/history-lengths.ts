import { parseShare } from '@collectivekv/domain';
import { InvalidArgumentError } from 'commander';

/** A share of the users with records of one length. */
export interface LengthShare {
  readonly positions: number;
  /** Above 0, at most 1. The shares of a list add up to 1. */
  readonly share: number;
}

const MAX_LENGTHS = 100;
const MAX_POSITIONS = 1_000_000;
/** Shares are written with few digits, so that their sum misses 1 a little. */
const SUM_TOLERANCE = 0.001;
const REMEDY = 'Give one length, or LENGTH:SHARE,LENGTH:SHARE,… with shares that add up to 100%: 100:60%,1000:40%.';

/**
 * Reads lengths of records: `1000`, or `100:60%,1000:40%`.
 * @throws InvalidArgumentError, which commander prints behind the option's name
 */
export function historyLengths(text: string): LengthShare[] {
  const entries = text.split(',');
  if (entries.length > MAX_LENGTHS) throw new InvalidArgumentError(`Give at most ${MAX_LENGTHS} lengths.`);
  const shares = entries.map((entry) => {
    const [, length, share] = /^(\d+)(?::(.*))?$/.exec(entry) ?? [];
    const read = share === undefined && entries.length === 1 ? 1 : parseShare(share ?? '');
    if (length === undefined || read === undefined) throw new InvalidArgumentError(REMEDY);
    return { positions: Number(length), share: read };
  });
  if (shares.some(({ positions }) => positions < 1 || positions > MAX_POSITIONS)) {
    throw new InvalidArgumentError(`A length is 1 to ${MAX_POSITIONS} positions. ${REMEDY}`);
  }
  const sum = shares.reduce((total, { share }) => total + share, 0);
  if (shares.some(({ share }) => share <= 0) || Math.abs(sum - 1) > SUM_TOLERANCE) {
    throw new InvalidArgumentError(`The shares add up to ${Number((100 * sum).toPrecision(4))}%. ${REMEDY}`);
  }
  return shares.map(({ positions, share }) => ({ positions, share: share / sum }));
}

/** Returns the mean of a figure over the users. */
export function meanOver(lengths: readonly LengthShare[], figureOf: (positions: number) => number): number {
  return lengths.reduce((sum, { positions, share }) => sum + share * figureOf(positions), 0);
}
