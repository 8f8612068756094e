import {
  CkvError,
  counted,
  EVENT_HASH_BYTES,
  invalidRequest,
  RECENT_EVENT_RING,
  RING_TOMBSTONE,
} from '@collectivekv/domain';

/** How an encoding's records are laid out. */
export interface RecordShape {
  readonly encodingId: string;
  readonly strideBytes: number;
  readonly maxPositions: number;
}

/** One user's new positions. */
export interface Append {
  readonly userId: string;
  /**
   * 6 bytes a row, each as `eventHash` returns it. At most as many as the ring remembers, so that a repeated append
   * finds all of them in the ring.
   */
  readonly eventHashes: Uint8Array; // [rows * 6]
  /** Oldest first. */
  readonly rows: Uint8Array; // [rows * strideBytes]
  /** Unix ms of the newest interaction. */
  readonly lastEventMs: number;
}

/** The part of a fence that a write carries. The store compares it with its own clock in the step that writes. */
export interface WriteFence {
  /** Last Unix ms, by the store's clock, at which the write is applied; 0 means no bound. */
  readonly validUntilMs: number;
}

/** The fence of a write that is never refused for its time. */
export const NO_FENCE: WriteFence = { validUntilMs: 0 };

/** The result of one user's append. */
export interface AppendOutcome {
  readonly appliedCount: number;
  readonly duplicateCount: number;
  readonly positionCount: number;
  /** True if an unreadable record was moved to another key first. */
  readonly unreadable: boolean;
}

/**
 * Names the position to delete: by its event while the ring holds the event, otherwise by its row. Rows of other events
 * in the ring are passed over.
 */
export interface PositionMatch {
  readonly eventHash: Uint8Array;
  /** Empty searches by the event alone. */
  readonly row: Uint8Array;
  /** How far each byte of the row may differ, modulo 256. Empty allows no difference. */
  readonly tolerance: Uint8Array;
}

/** Options of {@link UserStore.deleteUser}. */
export interface UserDeletion {
  /** Encodings to look for beside those that the store lists; 16 hexadecimal characters each. */
  readonly encodingIds?: readonly string[];
  /** True: deletes the unreadable records only, and says which records there are. */
  readonly keepRecords?: boolean;
}

/** What a user has, or had, under one encoding. */
export interface UserEncoding {
  /** Of a record from before records were bound to encodings: the id of its bundle. */
  readonly encodingId: string;
  /** True if the user had a record. */
  readonly record: boolean;
  /** True if the user had an unreadable record, which an append had moved to another key. */
  readonly unreadable: boolean;
  /** Positions of the record; 0 if there is none, or it cannot be read. */
  readonly positionCount: number;
}

/** The result of a deletion of a position. */
export interface PositionDeletion {
  readonly deleted: boolean;
  readonly positionCount: number;
  /** True if the ring knows the event: it is a position, or was one until it was deleted. */
  readonly eventKnown: boolean;
  /** Positions that follow the deleted one; 0 if none was deleted. */
  readonly laterCount: number;
  /** True if the record could not be read. It may have held the position, and was deleted as a whole. */
  readonly unreadable: boolean;
}

/** Counts over records. */
export interface StoreStats extends Omit<EncodingStats, 'encodingId'> {
  /** True if the count stopped at its bound. */
  readonly truncated: boolean;
  /** The counts of each encoding, at most 100: those with the most records first. */
  readonly encodings: readonly EncodingStats[];
}

/** Counts over the records of one encoding. */
export interface EncodingStats {
  readonly encodingId: string;
  readonly recordCount: number;
  readonly positionCount: number;
  /** Interactions ever applied to these records. */
  readonly lifetimeCount: number;
  /** Memory of the records with their keys as the store counts it: MEMORY USAGE of Redis. */
  readonly memoryBytes: number;
  /** The same as `recordMemory` computes it from the lengths of records and keys. */
  readonly ledgerBytes: number;
}

/**
 * User records, one per user and encoding.
 *
 * Every method throws dependency_unavailable if the store cannot be reached, and overloaded if it is full.
 */
export interface UserStore {
  /** Returns the records' bytes in the order of `userIds`; undefined for a user without a record. */
  getRecords(encodingId: string, userIds: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * Appends positions. Atomic per user; idempotent by event hash as far as the ring reaches.
   * @returns outcomes in the order of `appends`
   * @throws deadline if the fence has ended; some users may have been appended before that, so repeat the whole call
   * @throws encoding_mismatch if a record is of another encoding; the other users are appended
   */
  appendPositions(shape: RecordShape, appends: readonly Append[], fence?: WriteFence): Promise<AppendOutcome[]>;
  /** Replaces the user's record, or creates it. */
  replaceRecord(encodingId: string, userId: string, record: Uint8Array): Promise<void>;
  /**
   * Deletes a user's records of every encoding, unreadable ones too. Atomic up to 500 encodings.
   * @returns the encodings under which the user had a record or an unreadable record
   * @throws deadline if the fence has ended
   */
  deleteUser(userId: string, deletion?: UserDeletion, fence?: WriteFence): Promise<UserEncoding[]>;
  /**
   * Deletes one position; idempotent by event hash as far as the ring reaches. Deletes a record that cannot be read.
   * @throws user_not_found without a record, encoding_mismatch, conflict if other writers kept changing the record
   * @throws deadline if there is something to delete and the fence has ended
   */
  deletePosition(
    encodingId: string,
    userId: string,
    match: PositionMatch,
    fence?: WriteFence,
  ): Promise<PositionDeletion>;
  /**
   * Deletes the records of one encoding, those of some users at a call.
   * @param cursor what the call before returned; empty begins
   * @returns the number of deleted records, and where to go on: empty at the end
   * @throws invalid_request for a cursor of no call
   * @throws deadline if there is something to delete and the fence has ended
   */
  dropRecords(
    encodingId: string,
    cursor: string,
    fence?: WriteFence,
  ): Promise<{ readonly droppedCount: number; readonly nextCursor: string }>;
  /** Counts the records of one encoding, or of all if `encodingId` is empty. Stops after `maxRecords`. */
  stats(encodingId: string, maxRecords: number, signal?: AbortSignal): Promise<StoreStats>;
}

/** Checks that the sizes of an append agree with each other, and its hashes. Throws invalid_request naming `path`. */
export function checkAppend({ strideBytes }: RecordShape, append: Append, path: string): void {
  const rowCount = append.rows.length / strideBytes;
  if (!Number.isInteger(rowCount) || rowCount === 0) {
    throw invalidRequest(
      `${path}.rows`,
      `has ${counted(append.rows.length, 'byte')}, a multiple of stride_bytes (${strideBytes}) is required`,
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
      `has ${counted(append.eventHashes.length, 'byte')} in place of ${rowCount * EVENT_HASH_BYTES} for ${counted(rowCount, 'row')}`,
      'send 6 bytes a row',
    );
  }
  for (let last = EVENT_HASH_BYTES - 1; last < append.eventHashes.length; last += EVENT_HASH_BYTES) {
    if (((append.eventHashes[last] ?? 0) & RING_TOMBSTONE) === 0) continue;
    throw invalidRequest(
      `${path}.event_hashes`,
      `has the top bit of byte ${last} set, which marks a deleted event`,
      "clear the top bit of each hash's last byte",
    );
  }
}

/** Returns the error for a user without a record. */
export function noRecord(): CkvError {
  return new CkvError('user_not_found', 'user_id: the user has no record of this encoding', { field: 'user_id' });
}

/** Returns the error for a write whose fence has ended. */
export function fenceEnded(): CkvError {
  const text = "valid_until_ms: has passed by the store's clock; try again if the lease is still yours";
  return new CkvError('deadline', text, { field: 'valid_until_ms' });
}
