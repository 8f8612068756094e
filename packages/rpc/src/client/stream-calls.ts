import { CkvError } from '@collectivekv/domain';
import { type Client, type Metadata, type MethodDefinition, type StatusObject, status } from '@grpc/grpc-js';
import { statusOf } from '../errors/grpc-errors.js';
import { failed, serviceError } from '../errors/service-error.js';

/** Calls on streams that stay open from one to the next. */
export interface StreamCalls {
  /**
   * Sends a request and waits for its response. An aborted signal or a passed deadline ends the stream, and so the
   * server's work.
   * @throws ServiceError
   */
  call(request: unknown, limits: StreamCallLimits): Promise<unknown>;
  /** Ends the streams; those in use when their call is over. */
  close(): void;
}

/** When a call must end. */
export interface StreamCallLimits {
  /** Unix ms; default: no end. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link createStreamCalls}. */
export interface StreamCallsOptions {
  /** How long a stream takes calls, give or take a quarter. Later calls may reach servers that started since. Default 1 s. */
  readonly maxAgeMs?: number;
  /** How long a stream may be idle. Open streams keep the process alive. Default 500 ms. */
  readonly idleTimeoutMs?: number;
  /** Streams to open before any is used again: so many servers share even calls that come one by one. Default 8. */
  readonly spread?: number;
}

interface OpenStream {
  readonly call: ReturnType<ReturnType<Client['getChannel']>['createCall']>;
  /** When it is too old for another call. */
  readonly expiresMs: number;
  idleSinceMs: number;
  /** True from when a call gave up on it. */
  cancelled: boolean;
  /** The call that has it. */
  waiter: { onMessage(message: Buffer): void; onEnd(ended: StatusObject): void } | undefined;
}

const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Calls a method whose requests and responses alternate on a stream. There are as many streams as calls at a time, each
 * opened as any call is, so that the channel spreads them over all addresses. The one that was idle longest is next.
 */
export function createStreamCalls(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<unknown, unknown>,
  metadata: Metadata,
  { maxAgeMs = 1_000, idleTimeoutMs = 500, spread = 8 }: StreamCallsOptions = {},
): StreamCalls {
  const idle: OpenStream[] = [];
  let openCount = 0;
  let closed = false;
  let sweeping: NodeJS.Timeout | undefined;

  function open(): OpenStream {
    if (closed) throw serviceError(failed(status.CANCELLED, 'the client was closed'));
    const call = client.getChannel().createCall(path, Number.POSITIVE_INFINITY, undefined, null, undefined);
    const expiresMs = performance.now() + maxAgeMs * (0.75 + Math.random() / 2);
    const stream: OpenStream = { call, expiresMs, idleSinceMs: 0, cancelled: false, waiter: undefined };
    openCount++;
    call.start(metadata, {
      onReceiveMetadata: () => undefined,
      onReceiveMessage(message: Buffer) {
        const { waiter } = stream;
        stream.waiter = undefined;
        call.startRead();
        if (!waiter) return call.cancelWithStatus(status.INTERNAL, 'a response came that nobody asked for');
        waiter.onMessage(message);
        if (!stream.cancelled) release(stream);
      },
      onReceiveStatus(ended) {
        openCount--;
        const at = idle.indexOf(stream);
        if (at >= 0) idle.splice(at, 1);
        // grpc-js goes on to open a stream that was cancelled in the turn that began it.
        if (ended.code !== status.OK) setImmediate(() => call.cancelWithStatus(ended.code, ended.details));
        stream.waiter?.onEnd(ended);
      },
    });
    call.startRead();
    return stream;
  }

  function release(stream: OpenStream): void {
    stream.idleSinceMs = performance.now();
    if (closed || stream.idleSinceMs >= stream.expiresMs) {
      stream.call.halfClose();
      return;
    }
    idle.push(stream);
    sweeping ??= setInterval(sweep, idleTimeoutMs / 2).unref();
  }

  /** Ends the streams that are too old, or idle too long. */
  function sweep(): void {
    const nowMs = performance.now();
    for (const stream of idle.splice(0)) {
      if (nowMs >= stream.expiresMs || nowMs - stream.idleSinceMs >= idleTimeoutMs) stream.call.halfClose();
      else idle.push(stream);
    }
    if (idle.length > 0) return;
    clearInterval(sweeping);
    sweeping = undefined;
  }

  /** Sends a request; its response, or undefined where the server ended the stream in peace, which it does between requests. */
  function exchange(
    stream: OpenStream,
    request: Buffer,
    { deadlineMs = Number.POSITIVE_INFINITY, signal }: StreamCallLimits,
  ): Promise<Buffer | undefined> {
    return new Promise((resolve, reject) => {
      const cancel = (code: status, details: string) => {
        stream.cancelled = true;
        stream.call.cancelWithStatus(code, details);
      };
      const onAbort = () => cancel(status.CANCELLED, 'Cancelled on client');
      const onLate = () => cancel(status.DEADLINE_EXCEEDED, 'Deadline exceeded');
      const leftMs = Math.min(Math.max(0, deadlineMs - Date.now()), MAX_TIMER_MS);
      const timer = Number.isFinite(deadlineMs) ? setTimeout(onLate, leftMs) : undefined;
      signal?.addEventListener('abort', onAbort, { once: true });
      // Before the stream may go to another call.
      const detach = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      stream.waiter = {
        onMessage(message) {
          detach();
          resolve(message);
        },
        onEnd(ended) {
          detach();
          if (ended.code === status.OK) resolve(undefined);
          else reject(serviceError(ended));
        },
      };
      if (signal?.aborted) onAbort();
      else stream.call.sendMessageWithContext({}, request);
    });
  }

  return {
    async call(request, limits) {
      const bytes = written(request);
      const used = openCount < spread ? undefined : idle.shift();
      const message = (used && (await exchange(used, bytes, limits))) ?? (await exchange(open(), bytes, limits));
      if (message) return read(message);
      throw serviceError(statusOf(new CkvError('draining', 'the service ended the stream; call again')));
    },

    close() {
      closed = true;
      for (const { call } of idle.splice(0)) call.cancelWithStatus(status.CANCELLED, 'the client was closed');
    },
  };

  function written(request: unknown): Buffer {
    try {
      return requestSerialize(request);
    } catch (error) {
      throw serviceError(failed(status.INTERNAL, `the request cannot be written: ${(error as Error).message}`));
    }
  }

  function read(message: Buffer): unknown {
    try {
      return responseDeserialize(message);
    } catch (error) {
      throw serviceError(failed(status.INTERNAL, `the response cannot be read: ${(error as Error).message}`));
    }
  }
}
