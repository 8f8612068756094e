import { setImmediate as nextTurn } from 'node:timers/promises';
import type {
  ForgetRequest__Output,
  ForgetResponse,
  RecordRequest__Output,
  RecordResponse,
} from '@collectivekv/contracts';
import { invalidRequest, LIMITS, parseForgotten, parseId, parseInteraction } from '@collectivekv/domain';
import type { CallContext } from '@collectivekv/rpc/server';
import type { InteractionProducer } from '@collectivekv/update-queue';
import type { QueueRedis } from './queue-redis.js';

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
  queueRedis: Pick<QueueRedis, 'requireNoEviction'>,
) {
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

    async Forget({ interaction }: ForgetRequest__Output, call: Waiting): Promise<ForgetResponse> {
      const forgotten = parseForgotten(interaction, 'interaction');
      queueRedis.requireNoEviction();
      await stillWaiting(call);
      await producer.forget(forgotten);
      return {};
    },
  };
}
