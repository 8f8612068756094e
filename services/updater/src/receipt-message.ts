import type { Receipt as ReceiptMessage } from '@collectivekv/contracts';
import type { EncodingErasure, Receipt } from '@collectivekv/update-queue';

const KINDS = { delete: 'ERASURE_KIND_USER', forget: 'ERASURE_KIND_INTERACTION' } as const;
const STATES = {
  pending: 'RECEIPT_STATE_PENDING',
  aside: 'RECEIPT_STATE_SET_ASIDE',
  done: 'RECEIPT_STATE_DONE',
} as const;
const REMAINDERS = {
  nothing: 'REMAINDER_UNSPECIFIED',
  later_rows: 'REMAINDER_LATER_ROWS',
  not_found: 'REMAINDER_NOT_FOUND',
} as const satisfies Record<EncodingErasure['remainder'], string>;

/** Returns the message of a receipt. */
export function receiptMessage({ id, kind, state, report, ...times }: Receipt): ReceiptMessage {
  const { requestedAtMs, doneAtMs, tryCount } = times;
  const { encodings = [], setAsideCount = 0, waitingCount = 0, keptCount = 0 } = report ?? {};
  return {
    receiptId: id,
    kind: KINDS[kind],
    state: STATES[state],
    requestedAtMs,
    doneAtMs,
    encodings: encodings.map(({ remainder, ...counts }) => ({ ...counts, remainder: REMAINDERS[remainder] })),
    setAsideJobCount: setAsideCount,
    waitingJobCount: waitingCount,
    keptJobCount: keptCount,
    partial: encodings.some(({ remainder }) => remainder !== 'nothing'),
    tryCount,
  };
}
