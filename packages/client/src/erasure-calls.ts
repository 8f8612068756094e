import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Receipt__Output } from '@collectivekv/contracts';
import { backoffMs, CkvError, type Interaction, REASONS, steadyNowMs, toCkvError } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import { type Receipt, receiptOf } from './receipt.js';
import { type RetryLimits, withRetries } from './retry.js';

/** The erasing methods of the client. Each makes its calls with retries, within the limits. */
export interface ErasureCalls {
  deleteUser(userId: string, call: ErasureCall): Promise<Receipt>;
  forget(interaction: Interaction, call: ErasureCall): Promise<Receipt>;
  getReceipt(receiptId: string, limits: Limits): Promise<Receipt>;
}

type Limits = Omit<RetryLimits, 'signal'> & { readonly signal?: AbortSignal };

/** One erasure. */
export interface ErasureCall {
  readonly limits: Limits;
  /** Undefined: a new one. All retries carry the same one, so that the erasure is enqueued once. */
  readonly receiptId: string | undefined;
  /** True: waits until the erasure is no longer pending, or the time is over. */
  readonly wait: boolean;
}

const POLL_PAUSE = { firstMs: 25, longestMs: 1_000 } as const;

/** Creates the methods. */
export function createErasureCalls(updater: GrpcClient<'InteractionService'>): ErasureCalls {
  async function getReceipt(receiptId: string, limits: Limits): Promise<Receipt> {
    const answer = await withRetries(limits, ({ deadlineMs }) =>
      updater.call('GetReceipt', { receiptId }, { ...limits, deadlineMs }),
    );
    return receiptOf(answer.receipt);
  }

  /** Returns the receipt when it is no longer pending, or as it is when the time is over. */
  async function settled(receipt: Receipt, limits: Limits): Promise<Receipt> {
    let last = receipt;
    for (let poll = 1; last.state === 'pending'; poll++) {
      const pauseMs = backoffMs(poll, POLL_PAUSE);
      if (steadyNowMs() + pauseMs >= limits.deadlineMs) return last;
      await sleep(pauseMs, undefined, limits).catch((cause) => {
        throw new CkvError('cancelled', 'the caller gave up', { cause });
      });
      last = (await getReceipt(last.receiptId, limits).catch(unlessTransient)) ?? last;
    }
    return last;
  }

  async function erase(
    { limits, receiptId = randomUUID(), wait }: ErasureCall,
    send: (receiptId: string, attemptLimits: Limits) => Promise<{ receipt: Receipt__Output | null }>,
  ): Promise<Receipt> {
    const answer = await withRetries(limits, ({ deadlineMs }) => send(receiptId, { ...limits, deadlineMs }));
    const receipt = receiptOf(answer.receipt);
    return wait ? settled(receipt, limits) : receipt;
  }

  return {
    deleteUser: (userId, call) =>
      erase(call, (receiptId, limits) => updater.call('DeleteUser', { userId, receiptId }, limits)),
    forget: (interaction, call) =>
      erase(call, (receiptId, limits) => updater.call('Forget', { interaction, receiptId }, limits)),
    getReceipt,
  };
}

/** Returns nothing for a poll that was late or met a transient error: the erasure is enqueued all the same. */
function unlessTransient(thrown: unknown): undefined {
  const { reason } = toCkvError(thrown);
  if (reason !== 'deadline' && REASONS[reason].retry !== 'backoff') throw thrown;
}
