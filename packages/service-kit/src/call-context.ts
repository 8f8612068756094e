import { setMaxListeners } from 'node:events';
import { CkvError } from '@collectivekv/domain';
import type { ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';

/** What a handler knows of its call beside the request. */
export interface CallContext {
  /** When the caller stops waiting, Unix ms. */
  readonly deadlineMs: number;
  /** Aborts with a CkvError at the deadline or when the caller gives up. */
  readonly signal: AbortSignal;
  /** Aborts when the service begins to shut down: a stream without an end of its own ends then. */
  readonly draining: AbortSignal;
}

/** Longest an unary call may take where the caller set no deadline. */
export const DEFAULT_DEADLINE_MS = 30_000;

/** A call's context and what ends its timers. */
export interface OpenContext {
  readonly context: CallContext;
  close(): void;
}

/** Opens the context of an unary call, or of a stream, which has a deadline only where the caller set one. */
export function openContext(
  call: ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>,
  { streaming, draining }: { streaming: boolean; draining: AbortSignal },
): OpenContext {
  const nowMs = Date.now();
  const asked = Number(call.getDeadline());
  const fallback = streaming ? Number.POSITIVE_INFINITY : nowMs + DEFAULT_DEADLINE_MS;
  const deadlineMs = Number.isFinite(asked) ? asked : fallback;
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // a call of many requests waits for many runs
  const onCancelled = () => controller.abort(new CkvError('cancelled', 'the caller gave up'));
  call.on('cancelled', onCancelled);
  const timer = Number.isFinite(deadlineMs)
    ? setTimeout(
        () => controller.abort(new CkvError('deadline', 'the deadline passed')),
        Math.min(Math.max(0, deadlineMs - nowMs), 2 ** 31 - 1),
      )
    : undefined;
  return {
    context: { deadlineMs, signal: controller.signal, draining },
    close() {
      clearTimeout(timer);
      call.off('cancelled', onCancelled);
    },
  };
}

/** Settles as `work` does, or rejects with the signal's reason where that comes first. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
