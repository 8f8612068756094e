import { type EventEmitter, setMaxListeners } from 'node:events';
import { CkvError } from '@collectivekv/domain';
import type { ServerUnaryCall } from '@grpc/grpc-js';

/** What a handler knows of its call beside the request. */
export interface CallContext {
  /** When the caller stops waiting, Unix ms. */
  readonly deadlineMs: number;
  /** Why the call ended before its answer; undefined while it runs. */
  readonly ended: CkvError | undefined;
  /** Aborts with a CkvError at the deadline or when the caller gives up. Made when first asked for. */
  readonly signal: AbortSignal;
  /** Aborts when the service begins to shut down: a stream without an end of its own ends then. */
  readonly draining: AbortSignal;
}

/** Longest a request may take where the caller set no deadline. */
export const DEFAULT_DEADLINE_MS = 30_000;

/** A call's context, with what ends the call and what ends its timers. */
export interface OpenContext {
  readonly context: CallContext;
  /** Settles as `work` does, or rejects with why the call ended where that comes first. */
  untilEnded<T>(work: Promise<T>): Promise<T>;
  close(): void;
}

/** What unary calls and streams of grpc-js have in common. */
export type ServerCall = Pick<ServerUnaryCall<unknown, unknown>, 'getDeadline' | 'metadata'> & EventEmitter;

/** When a request must be answered: at the call's deadline or after `timeoutMs`, whichever is sooner; else after `defaultMs`. */
export interface ContextOptions {
  readonly defaultMs: number;
  /** 0 sets no bound. */
  readonly timeoutMs?: number;
  readonly draining: AbortSignal;
}

/** Opens the context of one request. */
export function openContext(call: ServerCall, { defaultMs, timeoutMs = 0, draining }: ContextOptions): OpenContext {
  const nowMs = Date.now();
  const asked = Number(call.getDeadline());
  const byCallMs = Number.isFinite(asked) ? asked : Number.POSITIVE_INFINITY;
  const byRequestMs = timeoutMs > 0 ? nowMs + timeoutMs : Number.POSITIVE_INFINITY;
  const boundMs = Math.min(byCallMs, byRequestMs);
  const deadlineMs = Number.isFinite(boundMs) ? boundMs : nowMs + defaultMs;
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
  call.on('cancelled', onCancelled);
  const timer = Number.isFinite(deadlineMs)
    ? setTimeout(
        () => end(new CkvError('deadline', 'the deadline passed')),
        Math.min(Math.max(0, deadlineMs - nowMs), 2 ** 31 - 1),
      )
    : undefined;
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
