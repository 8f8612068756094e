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

interface Waiter {
  onMessage(message: Buffer): void;
  onEnd(ended: StatusObject): void;
}

interface OpenStream {
  readonly call: ReturnType<ReturnType<Client['getChannel']>['createCall']>;
  /** The call that has it. */
  waiter: Waiter | undefined;
  /** True when no other call may have it. */
  spent: boolean;
}

/** Options of {@link createStreamCalls}. */
export interface StreamCallsOptions {
  /** So long a stream takes calls; the one after it may go to a server that was not there before. Default 10 s. */
  readonly lifetimeMs?: number;
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
  { lifetimeMs = 10_000, spread = 8 }: StreamCallsOptions = {},
): StreamCalls {
  const resting: OpenStream[] = [];
  let openCount = 0;
  let closed = false;

  function open(): OpenStream {
    const call = client.getChannel().createCall(path, Number.POSITIVE_INFINITY, undefined, null, undefined);
    const stream: OpenStream = { call, waiter: undefined, spent: false };
    openCount++;
    const timer = setTimeout(() => {
      stream.spent = true;
      if (leaveRest(stream)) call.halfClose();
    }, lifetimeMs).unref();
    call.start(metadata, {
      onReceiveMetadata: () => undefined,
      onReceiveMessage(message: Buffer) {
        const { waiter } = stream;
        stream.waiter = undefined;
        call.startRead();
        if (!waiter) return call.cancelWithStatus(status.INTERNAL, 'a response came that nobody asked for');
        if (stream.spent || closed) call.halfClose();
        else resting.push(stream);
        waiter.onMessage(message);
      },
      onReceiveStatus(ended) {
        clearTimeout(timer);
        openCount--;
        leaveRest(stream);
        stream.waiter?.onEnd(ended);
      },
    });
    call.startRead();
    return stream;
  }

  /** True where it rested. */
  function leaveRest(stream: OpenStream): boolean {
    const at = resting.indexOf(stream);
    if (at >= 0) resting.splice(at, 1);
    return at >= 0;
  }

  return {
    async call(request, { deadlineMs = Number.POSITIVE_INFINITY, signal }) {
      const bytes = written(request);
      const stream = (openCount < spread ? undefined : resting.shift()) ?? open();
      const cancel = (code: status, details: string) => {
        stream.spent = true;
        stream.call.cancelWithStatus(code, details);
      };
      const onAbort = () => cancel(status.CANCELLED, 'Cancelled on client');
      const onLate = () => cancel(status.DEADLINE_EXCEEDED, 'Deadline exceeded');
      const leftMs = Math.min(Math.max(0, deadlineMs - Date.now()), MAX_TIMER_MS);
      const timer = Number.isFinite(deadlineMs) ? setTimeout(onLate, leftMs) : undefined;
      signal?.addEventListener('abort', onAbort, { once: true });
      try {
        return read(
          await new Promise<Buffer>((resolve, reject) => {
            stream.waiter = { onMessage: resolve, onEnd: (ended) => reject(serviceError(whyEnded(ended))) };
            stream.call.sendMessageWithContext({}, bytes);
          }),
        );
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      }
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

/** A server that shuts down ends its streams in peace; the call that was just on its way must be made again. */
function whyEnded(ended: StatusObject): StatusObject {
  if (ended.code !== status.OK) return ended;
  return statusOf(new CkvError('draining', 'the service ended the stream; call again'));
}
