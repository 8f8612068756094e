import { type EventEmitter, setMaxListeners } from 'node:events';
import { CkvError, steadyNowMs } from '@collectivekv/domain';
import type { ServerUnaryCall } from '@grpc/grpc-js';
import { MAX_TIMER_MS } from '../timer-limit.js';

/** The call of a request, as its handler sees it. */
export interface CallContext {
  /** When the caller stops waiting, by {@link steadyNowMs}. */
  readonly deadlineMs: number;
  /** Why the call ended before its answer: `deadline` or `cancelled`. Undefined while it runs. */
  readonly ended: CkvError | undefined;
  /** Aborts with {@link ended} when the call ends before its answer. Made at the first use. */
  readonly signal: AbortSignal;
  /** Aborts when the service begins to shut down. A stream of answers that has no end of its own ends then. */
  readonly draining: AbortSignal;
  /**
   * Returns why the caller may not do what needs roles beside those of the method. Undefined if the caller may.
   * @param what a name that `rolesOf` knows
   */
  refusal(what: string): CkvError | undefined;
}

/** Longest time for a request whose caller set no deadline. */
export const DEFAULT_DEADLINE_MS = 30_000;

/** The context of a request, for the gate. */
export interface OpenContext {
  readonly context: CallContext;
  /** Settles as `work` does. Rejects with the reason if the call ends first. */
  untilEnded<T>(work: Promise<T>): Promise<T>;
  /** Ends the timer and the listener of the context. */
  close(): void;
}

/** The part that unary calls and streams of grpc-js share. */
export type ServerCall = Pick<ServerUnaryCall<unknown, unknown>, 'getDeadline' | 'metadata'> & EventEmitter;

/** Options of {@link openContext}. */
export interface ContextOptions {
  /** Longest time for the request if neither the call nor `timeoutMs` sets one. */
  readonly defaultMs: number;
  /** Longest time that the request itself asks for. Default 0: asks for none. The call's deadline may be sooner. */
  readonly timeoutMs?: number;
  readonly draining: AbortSignal;
  /** See {@link CallContext.refusal}. */
  readonly refusal: CallContext['refusal'];
}

/** Opens the context of one request. */
export function openContext(
  call: ServerCall,
  { defaultMs, timeoutMs = 0, draining, refusal }: ContextOptions,
): OpenContext {
  const nowMs = steadyNowMs();
  const deadlineMs = deadlineOf(call, timeoutMs, nowMs) ?? nowMs + defaultMs;
  let controller: AbortController | undefined;
  let ended: CkvError | undefined;
  let onEnded: ((why: CkvError) => void) | undefined;
  const end = (why: CkvError) => {
    if (ended) return;
    ended = why;
    onEnded?.(why);
    controller?.abort(why);
  };
  const onCancelled = () => end(new CkvError('cancelled', 'the caller gave up'));
  const onLate = () => end(new CkvError('deadline', 'the deadline passed'));
  call.on('cancelled', onCancelled);
  const leftMs = Math.min(Math.max(0, deadlineMs - nowMs), MAX_TIMER_MS);
  const timer = Number.isFinite(deadlineMs) ? setTimeout(onLate, leftMs) : undefined;
  return {
    context: {
      deadlineMs,
      get ended() {
        return ended;
      },
      get signal() {
        if (controller) return controller.signal;
        controller = new AbortController();
        setMaxListeners(0, controller.signal); // a call of many requests waits for many runs
        if (ended) controller.abort(ended);
        return controller.signal;
      },
      draining,
      refusal,
    },
    untilEnded: (work) =>
      new Promise((resolve, reject) => {
        if (ended) reject(ended);
        onEnded = reject;
        work.then(resolve, reject);
      }),
    close() {
      clearTimeout(timer);
      call.off('cancelled', onCancelled);
    },
  };
}

/**
 * Returns the call's deadline or the request's, whichever is sooner, by {@link steadyNowMs}. Undefined if neither is
 * set.
 */
function deadlineOf(call: ServerCall, timeoutMs: number, nowMs: number): number | undefined {
  const ofCallMs = nowMs + Number(call.getDeadline()) - Date.now(); // grpc-js has just made it from Date.now
  const ofRequestMs = timeoutMs > 0 ? nowMs + timeoutMs : Number.POSITIVE_INFINITY;
  const soonestMs = Number.isFinite(ofCallMs) ? Math.min(ofCallMs, ofRequestMs) : ofRequestMs;
  return Number.isFinite(soonestMs) ? soonestMs : undefined;
}
