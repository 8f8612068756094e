import type { Receipt__Output } from '@collectivekv/contracts';
import { CkvError } from '@collectivekv/domain';

/** A receipt of the deletion of a user, or of the removal of an interaction. It names neither. */
export interface Receipt {
  /** A random UUID. Keep it with the request that it answers: it is the only link to the user. */
  readonly receiptId: string;
  readonly kind: 'user' | 'interaction';
  /**
   * - `pending`: waits for its turn, or is under way.
   * - `done`: does not change any more.
   * - `set_aside`: nothing or a part was erased. "ckv queue failed" has the reason; calling again with the same id
   *   tries again.
   */
  readonly state: 'pending' | 'done' | 'set_aside';
  /** Unix ms by Redis's clock. */
  readonly requestedAtMs: number;
  /** Unix ms by Redis's clock; undefined until the erasure is done. */
  readonly doneAtMs: number | undefined;
  /** The encodings under which the user had something. Empty until the erasure is done. */
  readonly encodings: readonly EncodingErasure[];
  /** Jobs that were set aside and held something of the user. */
  readonly setAsideJobCount: number;
  /** Jobs that were delayed, prioritised, or in the queue of another partition. */
  readonly waitingJobCount: number;
  /** Completed jobs that their senders had told the queue to keep. */
  readonly keptJobCount: number;
  /** True if something of the interaction may remain: `encodings` says where and what. Deleting the user removes it. */
  readonly partial: boolean;
  /** How often the erasure was begun. With more than 1, the counts may lack what a failed try erased. */
  readonly tryCount: number;
}

/** What an erasure did under one encoding: to records that bundles with this encoding share. */
export interface EncodingErasure {
  /** Of a record from before records were bound to encodings: the id of its bundle. */
  readonly encodingId: string;
  /** Records deleted as a whole: 0 or 1. */
  readonly recordCount: number;
  /** Unreadable records deleted: the record itself, and one that an append had moved to another key. 0 to 2. */
  readonly unreadableCount: number;
  /** Positions deleted: those of the deleted record, or one of a record that stays. */
  readonly positionCount: number;
  /**
   * What may remain of the interaction:
   * - `later_rows`: rows that were encoded behind the deleted one, and learned from it.
   * - `not_found`: the record has no such position, or it is older than 14 events and could not be found.
   */
  readonly remainder: 'nothing' | 'later_rows' | 'not_found';
}

const STATES: Readonly<Record<string, Receipt['state']>> = {
  RECEIPT_STATE_DONE: 'done',
  RECEIPT_STATE_SET_ASIDE: 'set_aside',
};
const REMAINDERS: Readonly<Record<string, EncodingErasure['remainder']>> = {
  REMAINDER_UNSPECIFIED: 'nothing',
  REMAINDER_LATER_ROWS: 'later_rows',
  REMAINDER_NOT_FOUND: 'not_found',
};

/**
 * Reads the message of a receipt.
 * @throws bug if the answer has none
 */
export function receiptOf(message: Receipt__Output | null): Receipt {
  if (!message) throw new CkvError('bug', 'the updater answered without a receipt');
  const { kind, state, doneAtMs, encodings, ...same } = message;
  return {
    ...same,
    kind: kind === 'ERASURE_KIND_USER' ? 'user' : 'interaction',
    state: STATES[state] ?? 'pending',
    doneAtMs: doneAtMs === 0 ? undefined : doneAtMs,
    encodings: encodings.map(({ remainder, ...counts }) => ({
      ...counts,
      remainder: REMAINDERS[remainder] ?? 'not_found',
    })),
  };
}
