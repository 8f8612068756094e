import type {
  ForgetRequest__Output,
  ForgetResponse,
  RecordRequest__Output,
  RecordResponse,
} from '@collectivekv/contracts';
import { invalidRequest, LIMITS, parseForgotten, parseInteraction } from '@collectivekv/domain';
import type { InteractionProducer } from '@collectivekv/update-queue';

/** Creates the handlers of InteractionService: they put messages into the queue. */
export function createInteractionHandlers(producer: InteractionProducer) {
  return {
    async Record({ interactions }: RecordRequest__Output): Promise<RecordResponse> {
      const { length } = interactions;
      if (length < 1 || length > LIMITS.recordInteractions) {
        throw invalidRequest(
          'interactions',
          `has ${length} entries, 1 to ${LIMITS.recordInteractions} are required`,
          'split the call',
        );
      }
      await producer.enqueue(interactions.map((raw, i) => parseInteraction(raw, `interactions[${i}]`)));
      return { queuedCount: length };
    },

    async Forget({ interaction }: ForgetRequest__Output): Promise<ForgetResponse> {
      await producer.forget(parseForgotten(interaction, 'interaction'));
      return {};
    },
  };
}
