import { CkvError } from '@collectivekv/domain';

/** What the system answers if a disk, or a user's share of it, is full. */
const FULL = ['ENOSPC', 'EDQUOT'];

/**
 * Returns the CkvError for a folder that cannot be written: `overloaded` if the disk is full, otherwise
 * `dependency_unavailable`.
 */
export function fileError(folder: string, thrown: unknown): CkvError {
  if (thrown instanceof CkvError) return thrown;
  const { code = 'unknown error' } = thrown as NodeJS.ErrnoException;
  const problem = `the folder ${folder} cannot be written (${code})`;
  if (FULL.includes(code)) {
    return new CkvError('overloaded', `${problem}: the disk is full; free some space`, {
      retryAfterMs: 1_000,
      cause: thrown,
    });
  }
  return new CkvError('dependency_unavailable', `${problem}; let this user write there`, { cause: thrown });
}
