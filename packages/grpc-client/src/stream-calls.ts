import { CkvError } from '@collectivekv/domain';
import { type Client, type Metadata, type MethodDefinition, type StatusObject, status } from '@grpc/grpc-js';
import { statusOf } from './grpc-errors.js';
import { failed, serviceError } from './service-error.js';

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

interface OpenStream {
  readonly call: ReturnType<ReturnType<Client['getChannel']>['createCall']>;
  /** When it has served long enough. */
  readonly endsMs: number;
  restsSinceMs: number;
  /** True from when a call gave up on it. */
  cancelled: boolean;
  /** The call that has it. */
  waiter: { onMessage(message: Buffer): void; onEnd(ended: StatusObject): void } | undefined;
}

/** Options of {@link createStreamCalls}. */
export interface StreamCallsOptions {
  /**
   * So long a stream takes calls, give or take a quarter; the one after it may go to a server that was not there before.
   * Default 1 s.
   */
  readonly lifetimeMs?: number;
  /** So long a stream may rest: until then it keeps the process from ending. Default 500 ms. */
  readonly restMs?: number;
  /** Streams to open before any is used again: so many servers share even calls that come one by one. Default 8. */
  readonly spread?: number;
}

const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Calls a method whose requests and responses alternate on a stream. There are as many streams as calls at a time, each
 * opened as any call is, so that the channel spreads them over all addresses. The one that rested longest is next.
 */
export function createStreamCalls(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<unknown, unknown>,
  metadata: Metadata,
  { lifetimeMs = 1_000, restMs = 500, spread = 8 }: StreamCallsOptions = {},
): StreamCalls {
  const resting: OpenStream[] = [];
  let openCount = 0;
  let closed = false;
  let sweeping: NodeJS.Timeout | undefined;

  function open(): OpenStream {
    const call = client.getChannel().createCall(path, Number.POSITIVE_INFINITY, undefined, null, undefined);
    const endsMs = performance.now() + lifetimeMs * (0.75 + Math.random() / 2);
    const stream: OpenStream = { call, endsMs, restsSinceMs: 0, cancelled: false, waiter: undefined };
    openCount++;
    call.start(metadata, {
      onReceiveMetadata: () => undefined,
      onReceiveMessage(message: Buffer) {
        const { waiter } = stream;
        stream.waiter = undefined;
        call.startRead();
        if (!waiter) return call.cancelWithStatus(status.INTERNAL, 'a response came that nobody asked for');
        if (!stream.cancelled) rest(stream);
        waiter.onMessage(message);
      },
      onReceiveStatus(ended) {
        openCount--;
        const at = resting.indexOf(stream);
        if (at >= 0) resting.splice(at, 1);
        // grpc-js goes on to open a stream that was cancelled in the turn that began it.
        if (ended.code !== status.OK) setImmediate(() => call.cancelWithStatus(ended.code, ended.details));
        stream.waiter?.onEnd(ended);
      },
    });
    call.startRead();
    return stream;
  }

  function rest(stream: OpenStream): void {
    stream.restsSinceMs = performance.now();
    if (closed || stream.restsSinceMs >= stream.endsMs) {
      stream.call.halfClose();
      return;
    }
    resting.push(stream);
    sweeping ??= setInterval(sweep, restMs / 2).unref();
  }

  /** Ends what rested or served long enough. */
  function sweep(): void {
    const nowMs = performance.now();
    for (const stream of resting.splice(0)) {
      if (nowMs >= stream.endsMs || nowMs - stream.restsSinceMs >= restMs) stream.call.halfClose();
      else resting.push(stream);
    }
    if (resting.length > 0) return;
    clearInterval(sweeping);
    sweeping = undefined;
  }

  /** Sends a request; its response, or undefined where the service ended the stream in peace, which it does between requests. */
  async function converse(
    stream: OpenStream,
    request: Buffer,
    { deadlineMs = Number.POSITIVE_INFINITY, signal }: StreamCallLimits,
  ): Promise<Buffer | undefined> {
    const cancel = (code: status, details: string) => {
      stream.cancelled = true;
      stream.call.cancelWithStatus(code, details);
    };
    const onAbort = () => cancel(status.CANCELLED, 'Cancelled on client');
    const onLate = () => cancel(status.DEADLINE_EXCEEDED, 'Deadline exceeded');
    const leftMs = Math.min(Math.max(0, deadlineMs - Date.now()), MAX_TIMER_MS);
    const timer = Number.isFinite(deadlineMs) ? setTimeout(onLate, leftMs) : undefined;
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await new Promise((resolve, reject) => {
        stream.waiter = {
          onMessage: resolve,
          onEnd: (ended) => (ended.code === status.OK ? resolve(undefined) : reject(serviceError(ended))),
        };
        stream.call.sendMessageWithContext({}, request);
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  return {
    async call(request, limits) {
      const bytes = written(request);
      const rested = openCount < spread ? undefined : resting.shift();
      const message = (rested && (await converse(rested, bytes, limits))) ?? (await converse(open(), bytes, limits));
      if (message) return read(message);
      throw serviceError(statusOf(new CkvError('draining', 'the service ended the stream; call again')));
    },

    close() {
      closed = true;
      for (const { call } of resting.splice(0)) call.cancelWithStatus(status.CANCELLED, 'the client was closed');
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
