// gRPC calls from updaters to user-caches, in the hands of the schedule. The user-cache's own handlers answer them.
import { CkvError, steadyNowMs } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { CallContext } from '@collectivekv/rpc/server';
import type { createUserCacheHandlers } from '../../services/user-cache/src/handlers.js';
import type { Fate } from './redis-link.js';
import { modelNowMs, runAs } from './virtual-time.js';

/** The handlers of a user-cache. */
export type CacheHandlers = ReturnType<typeof createUserCacheHandlers>;

/** A call on its way. */
export interface CacheCall {
  readonly method: string;
  /** The updater that sent it. */
  readonly caller: string;
  /** The user-cache that it goes to. */
  readonly cache: string;
  /** Unix ms of the model after which the call fails for the caller. */
  readonly deadlineMs: number;
  /** True until the call reaches the user-cache. */
  isTravelling(): boolean;
  /** True if the answer has come back, and the caller has not received it. */
  isAnswered(): boolean;
  /** True until the caller has received an answer or a failure. */
  isAwaited(): boolean;
  /** Lets the call reach the user-cache, which begins to work on it. */
  arrive(): void;
  /** Lets the caller receive the answer. */
  receive(): void;
  /** Fails for the caller. A late call still reaches the user-cache some time. */
  fail(reason: 'deadline' | 'dependency_unavailable', fate: Fate): void;
  /** Its caller is gone, and receives nothing. */
  abandon(fate: Fate): void;
}

/** The calls between updaters and user-caches. */
export interface CacheCalls {
  /** Returns the client of an updater. Calls take turns on the user-caches. */
  clientOf(caller: string): GrpcClient<'UserCacheService'>;
  /** Calls that are travelling, at work or awaited, in the order in which they were sent. */
  all(): readonly CacheCall[];
}

/** Creates the calls. */
export function createCacheCalls(options: {
  readonly caches: readonly string[];
  readonly handlersOf: (cache: string) => CacheHandlers;
  /** Sees each call as it is sent. */
  readonly onSent: (call: CacheCall) => void;
}): CacheCalls {
  const { caches, handlersOf, onSent } = options;
  const calls: CacheCall[] = [];
  let turn = 0;

  function send(caller: string, method: keyof CacheHandlers, request: unknown, deadlineMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const cache = caches[turn++ % caches.length] ?? '';
      let travelling = true;
      let awaited = true;
      let answer: (() => void) | undefined;
      const call: CacheCall = {
        method,
        caller,
        cache,
        deadlineMs,
        isTravelling: () => travelling,
        isAnswered: () => awaited && answer !== undefined,
        isAwaited: () => awaited,
        arrive() {
          travelling = false;
          const handler = handlersOf(cache)[method] as (request: unknown, call: CallContext) => Promise<unknown>;
          runAs({ owner: cache, caller }, () => handler(request, {} as CallContext)).then(
            (response) => {
              answer = () => resolve(response);
            },
            (error) => {
              answer = () => reject(error);
            },
          );
        },
        receive() {
          awaited = false;
          answer?.();
        },
        fail(reason, fate) {
          awaited = false;
          if (fate === 'lost') travelling = false;
          reject(new CkvError(reason, 'the call failed for its caller'));
        },
        abandon(fate) {
          awaited = false;
          if (fate === 'lost') travelling = false;
        },
      };
      calls.push(call);
      onSent(call);
    });
  }

  return {
    clientOf: (caller) => ({
      call: (method, request, { deadlineMs = Number.POSITIVE_INFINITY } = {}) =>
        send(
          caller,
          method as keyof CacheHandlers,
          request,
          modelNowMs() + Math.round(deadlineMs - steadyNowMs()),
        ) as never,
      callOnStream: () => Promise.reject(new CkvError('bug', 'unused')),
      stream: () => {
        throw new CkvError('bug', 'unused');
      },
      close: () => undefined,
    }),
    all: () => calls.filter((call) => call.isTravelling() || call.isAwaited()),
  };
}
