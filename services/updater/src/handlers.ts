import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type {
  DeleteUserRequest__Output,
  DeleteUserResponse,
  ForgetRequest__Output,
  ForgetResponse,
  GetReceiptRequest__Output,
  GetReceiptResponse,
  RecordRequest__Output,
  RecordResponse,
} from '@collectivekv/contracts';
import {
  invalidRequest,
  LIMITS,
  parseForgotten,
  parseId,
  parseInteraction,
  parseReceiptId,
  WHOLE_RECEIPT_ID,
} from '@collectivekv/domain';
import type { CallContext } from '@collectivekv/rpc/server';
import { type Erasure, type InteractionProducer, noReceipt, type Receipts } from '@collectivekv/update-queue';
import type { QueueRedis } from './queue-redis.js';
import { receiptMessage } from './receipt-message.js';

/** Tells whether the caller still waits. */
type Waiting = Pick<CallContext, 'ended'>;

/**
 * Throws if the caller gave the call up. If this process was stopped, old calls and their cancellations are read
 * together when it goes on: the turn lets the cancellation in. The caller has tried again elsewhere since.
 */
async function stillWaiting(call: Waiting): Promise<void> {
  await nextTurn();
  if (call.ended) throw call.ended;
}

/** Creates the handlers of InteractionService: they put messages into the queue, unless its Redis may lose them. */
export function createInteractionHandlers(
  producer: InteractionProducer,
  receipts: Pick<Receipts, 'get' | 'claim' | 'open'>,
  queueRedis: Pick<QueueRedis, 'requireNoEviction'>,
) {
  /** Enqueues an erasure unless its receipt is done. Returns the receipt's message. */
  async function erase(erasure: Erasure, call: Waiting, enqueue: () => Promise<void>) {
    queueRedis.requireNoEviction();
    await stillWaiting(call);
    // The claim refuses the receipt of another erasure before anything is queued. It lasts a minute: a receipt without
    // a job would be pending for ever.
    const claimed = await receipts.claim(erasure);
    if (claimed.state !== 'done') await enqueue();
    return { receipt: receiptMessage(await receipts.open(erasure, claimed)) };
  }

  return {
    async Record({ interactions, idempotencyKey }: RecordRequest__Output, call: Waiting): Promise<RecordResponse> {
      const { length } = interactions;
      if (length < 1 || length > LIMITS.recordInteractions) {
        throw invalidRequest(
          'interactions',
          `has ${length} entries, 1 to ${LIMITS.recordInteractions} are required`,
          'split the call',
        );
      }
      const key = idempotencyKey && parseId(idempotencyKey, 'idempotency_key', LIMITS.idempotencyKeyBytes);
      const parsed = interactions.map((raw, i) => parseInteraction(raw, `interactions[${i}]`));
      queueRedis.requireNoEviction();
      await stillWaiting(call);
      await producer.enqueue(parsed, key);
      return { queuedCount: length };
    },

    async Forget({ interaction, receiptId }: ForgetRequest__Output, call: Waiting): Promise<ForgetResponse> {
      const forgotten = parseForgotten(interaction, 'interaction');
      const id = receiptIdOf(receiptId);
      const { userId, eventId } = forgotten;
      return erase({ userId, eventId, receiptId: id }, call, () => producer.forget(forgotten, id));
    },

    async DeleteUser({ userId, receiptId }: DeleteUserRequest__Output, call: Waiting): Promise<DeleteUserResponse> {
      parseId(userId, 'user_id', LIMITS.idBytes);
      const id = receiptIdOf(receiptId);
      return erase({ userId, receiptId: id }, call, () => producer.deleteUser(userId, id));
    },

    async GetReceipt({ receiptId }: GetReceiptRequest__Output): Promise<GetReceiptResponse> {
      const receipt = await receipts.get(parseReceiptId(receiptId, 'receipt_id', WHOLE_RECEIPT_ID));
      if (!receipt) throw noReceipt();
      return { receipt: receiptMessage(receipt) };
    },
  };
}

/** Returns the id that the caller chose, or a new one. */
function receiptIdOf(given: string): string {
  return given === '' ? randomUUID() : parseReceiptId(given, 'receipt_id');
}
