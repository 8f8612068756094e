import { steadyNowMs } from '@collectivekv/domain';
import { type Client, type Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { serviceError } from '../errors/service-error.js';
import { MAX_TIMER_MS } from '../timer-limit.js';

/**
 * The life of a stream on which requests and responses alternate:
 * - `idle`: it is open and no call has it.
 * - `waiting`: a call has sent its request and waits for the response.
 * - `cancelled`: its call gave up, or the server broke the protocol. No call may get it. Its status is still to come.
 * - `finishing`: it took its last request, and this side has half-closed it. Its status is still to come.
 * - `ended`: its status has come.
 */
export type StreamState =
  | { readonly name: 'idle'; readonly sinceMs: number }
  | { readonly name: 'waiting'; readonly call: WaitingCall }
  | { readonly name: 'cancelled'; readonly call: WaitingCall | undefined }
  | { readonly name: 'finishing' }
  | { readonly name: 'ended' };

/** The call that has a stream. */
interface WaitingCall {
  onMessage(message: Buffer): void;
  onStatus(ended: StatusObject): void;
}

/** When a call must end. */
export interface ExchangeLimits {
  /** Unix ms. Default: no end. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A stream that carries one request and its response at a time. */
export interface AlternatingStream {
  readonly state: StreamState;
  /** When the stream is too old for another call, by `performance.now()`. */
  readonly expiresMs: number;
  /**
   * Sends a request on an idle stream. An aborted signal or a passed deadline cancels the stream.
   * @returns the response, or undefined if the server ended the stream with OK instead, as it may between two requests
   * @throws ServiceError with the status that ended the stream
   */
  exchange(request: Buffer, limits: ExchangeLimits): Promise<Buffer | undefined>;
  /** Half-closes an idle stream: the server ends it. */
  finish(): void;
  /** Cancels an idle stream. */
  cancel(details: string): void;
}

/** Options of {@link openAlternatingStream}. */
export interface AlternatingStreamOptions {
  readonly client: Client;
  /** Path of the method: `/package.Service/Method`. */
  readonly path: string;
  readonly metadata: Metadata;
  readonly expiresMs: number;
  /** Called when the stream has become idle, cancelled or ended. */
  readonly onChange: (stream: AlternatingStream) => void;
}

/** Opens a stream. It is idle. */
export function openAlternatingStream(options: AlternatingStreamOptions): AlternatingStream {
  const { client, path, metadata, expiresMs, onChange } = options;
  const call = client.getChannel().createCall(path, Number.POSITIVE_INFINITY, undefined, null, undefined);
  let state: StreamState = { name: 'idle', sinceMs: performance.now() };

  function enter(next: StreamState): void {
    state = next;
    onChange(stream);
  }

  /** The call that has yet to learn how its stream ends. */
  function callOf(current: StreamState): WaitingCall | undefined {
    return current.name === 'waiting' || current.name === 'cancelled' ? current.call : undefined;
  }

  function cancelWith(code: status, details: string): void {
    enter({ name: 'cancelled', call: callOf(state) });
    call.cancelWithStatus(code, details);
  }

  function onReceiveMessage(message: Buffer): void {
    call.startRead();
    if (state.name === 'waiting') {
      state.call.onMessage(message);
      enter({ name: 'idle', sinceMs: performance.now() });
    } else if (state.name === 'cancelled') {
      state.call?.onMessage(message); // it came just before the stream was cancelled
    } else {
      cancelWith(status.INTERNAL, 'a response came that nobody asked for');
    }
  }

  function onReceiveStatus(ended: StatusObject): void {
    // If a stream is cancelled in the turn that began it, grpc-js opens it afterwards.
    if (ended.code !== status.OK) setImmediate(() => call.cancelWithStatus(ended.code, ended.details));
    const waiting = callOf(state);
    enter({ name: 'ended' });
    waiting?.onStatus(ended);
  }

  function exchange(request: Buffer, limits: ExchangeLimits): Promise<Buffer | undefined> {
    return new Promise((resolve, reject) => {
      const { deadlineMs = Number.POSITIVE_INFINITY, signal } = limits;
      const onAbort = () => cancelWith(status.CANCELLED, 'Cancelled on client');
      const onLate = () => cancelWith(status.DEADLINE_EXCEEDED, 'Deadline exceeded');
      const leftMs = Math.min(Math.max(0, deadlineMs - steadyNowMs()), MAX_TIMER_MS);
      const timer = Number.isFinite(deadlineMs) ? setTimeout(onLate, leftMs) : undefined;
      signal?.addEventListener('abort', onAbort, { once: true });
      // The next call may get the stream: this call's limits must not reach it.
      const dropLimits = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      state = {
        name: 'waiting',
        call: {
          onMessage(message) {
            dropLimits();
            resolve(message);
          },
          onStatus(ended) {
            dropLimits();
            if (ended.code === status.OK) resolve(undefined);
            else reject(serviceError(ended));
          },
        },
      };
      if (signal?.aborted) onAbort();
      else call.sendMessageWithContext({}, request);
    });
  }

  const stream: AlternatingStream = {
    get state() {
      return state;
    },
    expiresMs,
    exchange,
    finish() {
      state = { name: 'finishing' };
      call.halfClose();
    },
    cancel: (details) => cancelWith(status.CANCELLED, details),
  };
  call.start(metadata, { onReceiveMetadata: () => undefined, onReceiveMessage, onReceiveStatus });
  call.startRead();
  return stream;
}
