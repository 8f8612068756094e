import { CkvError, EVENT_HASH_BYTES, invalidRequest, RECENT_EVENT_RING } from '@collectivekv/domain';

/** How a bundle's records are laid out. */
export interface RecordShape {
  readonly bundleId: string;
  readonly strideBytes: number;
  readonly maxPositions: number;
}

/** One user's new positions. */
export interface Append {
  readonly userId: string;
  /** 6 bytes a row; at most as many as the ring remembers, so that a retry finds them all there. */
  readonly eventHashes: Uint8Array; // [rows * 6]
  /** Oldest first. */
  readonly rows: Uint8Array; // [rows * strideBytes]
  /** Unix ms of the newest of them. */
  readonly lastEventMs: number;
}

/** What came of an append. */
export interface AppendOutcome {
  readonly appliedCount: number;
  readonly duplicateCount: number;
  readonly positionCount: number;
  /** True where an unreadable record was set aside first. */
  readonly quarantined: boolean;
}

/** Which position to delete: that of the event while the ring holds it, else the one with the content given. */
export interface PositionMatch {
  readonly eventHash: Uint8Array;
  /** Empty looks for the event alone. */
  readonly row: Uint8Array;
  /** How far each byte of the row may differ, modulo 256; empty where none may. */
  readonly tolerance: Uint8Array;
}

/** Counts over records. */
export interface StoreStats {
  readonly recordCount: number;
  readonly positionCount: number;
  readonly memoryBytes: number;
  readonly lifetimeCount: number;
  readonly truncated: boolean;
}

/**
 * User records, one per user and bundle.
 *
 * Every method throws dependency_unavailable where the store cannot be reached and overloaded where it is full.
 */
export interface UserStore {
  /** The records' bytes, undefined where there is none; aligned with `userIds`. */
  getRecords(bundleId: string, userIds: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * Appends; atomic per user, idempotent by event hash as far as the ring reaches. Outcomes are aligned with `appends`.
   * @throws bundle_mismatch where a record is of another bundle
   */
  appendPositions(shape: RecordShape, appends: readonly Append[]): Promise<AppendOutcome[]>;
  /** Puts a whole record in place of what is there. */
  replaceRecord(bundleId: string, userId: string, record: Uint8Array): Promise<void>;
  /** Deletes a user's records of every bundle, those set aside too. Returns how many records there were. */
  deleteUser(userId: string): Promise<number>;
  /**
   * Deletes one position; idempotent by event hash as far as the ring reaches.
   * @throws user_not_found without a record, conflict where writers kept coming in between, record_corrupt
   */
  deletePosition(
    bundleId: string,
    userId: string,
    match: PositionMatch,
  ): Promise<{ deleted: boolean; positionCount: number }>;
  /** Counts records, of one bundle or of all where `bundleId` is empty; stops after `maxRecords`. */
  stats(bundleId: string, maxRecords: number, signal?: AbortSignal): Promise<StoreStats>;
}

/** Checks what the two parts of an append say of each other. Throws invalid_request naming `path`. */
export function checkAppend({ strideBytes }: RecordShape, append: Append, path: string): void {
  const rowCount = append.rows.length / strideBytes;
  if (!Number.isInteger(rowCount) || rowCount === 0) {
    throw invalidRequest(
      `${path}.rows`,
      `has ${append.rows.length} bytes, a multiple of stride_bytes (${strideBytes}) is required`,
      'send whole rows, at least one',
    );
  }
  if (rowCount > RECENT_EVENT_RING) {
    throw invalidRequest(
      `${path}.rows`,
      `has ${rowCount} rows, at most ${RECENT_EVENT_RING} are allowed`,
      'append the rest in a further call, after this one',
    );
  }
  if (append.eventHashes.length !== rowCount * EVENT_HASH_BYTES) {
    throw invalidRequest(
      `${path}.event_hashes`,
      `has ${append.eventHashes.length} bytes, ${rowCount} rows take ${rowCount * EVENT_HASH_BYTES}`,
      'send 6 bytes a row',
    );
  }
}

/** The error for a user without a record. */
export function noRecord(): CkvError {
  return new CkvError('user_not_found', 'user_id: the user has no record of this bundle', { field: 'user_id' });
}
