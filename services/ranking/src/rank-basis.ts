import type { LoadedBundle } from '@collectivekv/bundles';
import type { Candidates, Reason } from '@collectivekv/domain';
import type { RankQuery } from './rank-query.js';

/**
 * What an answer depended on. It refers to what the request had, without copies. Whoever keeps it keeps the message of
 * the request and that of the record in memory.
 */
export interface RankBasis {
  readonly bundle: LoadedBundle;
  readonly query: RankQuery;
  readonly candidates: Candidates;
  /** The record as it was read, also if it is corrupt. Undefined if none was read, or the user has none. */
  readonly recordBytes: Uint8Array | undefined;
  /** Why the record did not count; undefined if it did, or the user has none. */
  readonly recordMissing: Reason | undefined;
  /** The rows attended to, oldest first. None if the pool rows were missing. */
  readonly rows: Uint8Array; // [positions, stride]
  /** Why no rows were attended to: their pool rows were missing. Undefined if all were. */
  readonly rowsMissing: Reason | undefined;
}
