import { CkvError } from '@collectivekv/domain';
import { type Client, type Metadata, type MethodDefinition, status } from '@grpc/grpc-js';
import { statusOf } from '../errors/grpc-errors.js';
import { failed, serviceError } from '../errors/service-error.js';
import { type AlternatingStream, type ExchangeLimits, openAlternatingStream } from './alternating-stream.js';

/** Calls of one method on streams that stay open from one call to the next. */
export interface StreamCalls {
  /**
   * Sends a request and waits for its response. If the signal aborts or the deadline passes, the stream ends, and with
   * it the server's work. With `mayDouble`, for a request that failed before, it uses the stream that answered last.
   * If none is idle and `mayDouble` returns true, it sends the request on two new streams, and returns the first
   * response: of two servers, one may have failed before.
   * @throws ServiceError
   */
  call(
    request: unknown,
    limits: ExchangeLimits & { readonly mayDouble?: (() => boolean) | undefined },
  ): Promise<unknown>;
  /** Ends the idle streams now, and the others when their call is over. */
  close(): void;
}

/** Options of {@link createStreamCalls}. */
export interface StreamCallsOptions {
  /**
   * How long a stream takes calls, ms; each stream's own age is within a quarter of it. The next stream may reach a
   * server that started in the meantime. Default 1,000.
   */
  readonly maxAgeMs?: number;
  /** How long a stream may be idle, ms. An open stream keeps the process alive. Default 500. */
  readonly idleTimeoutMs?: number;
  /**
   * Streams to open before one is used again. Even calls that come one by one are spread over as many servers. Default
   * 8.
   */
  readonly spread?: number;
}

/**
 * Creates calls of a method whose requests and responses alternate on a stream. There are as many streams as calls in
 * flight. Each is opened like any call, so the channel spreads them over all addresses. The next call gets the stream
 * that was idle longest.
 */
export function createStreamCalls(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<unknown, unknown>,
  metadata: Metadata,
  { maxAgeMs = 1_000, idleTimeoutMs = 500, spread = 8 }: StreamCallsOptions = {},
): StreamCalls {
  /** The idle streams; the one that was idle longest is first. */
  const idle: AlternatingStream[] = [];
  let openCount = 0;
  let closed = false;
  let sweeping: NodeJS.Timeout | undefined;

  function open(): AlternatingStream {
    if (closed) throw serviceError(failed(status.CANCELLED, 'the client was closed'));
    openCount++;
    const expiresMs = performance.now() + maxAgeMs * (0.75 + Math.random() / 2);
    return openAlternatingStream({ client, path, metadata, expiresMs, onChange });
  }

  function onChange(stream: AlternatingStream): void {
    if (stream.state.name === 'idle') {
      keep(stream, stream.state.sinceMs);
      return;
    }
    const at = idle.indexOf(stream);
    if (at >= 0) idle.splice(at, 1);
    if (stream.state.name === 'ended') openCount--;
  }

  function keep(stream: AlternatingStream, nowMs: number): void {
    if (closed || nowMs >= stream.expiresMs) {
      stream.finish();
      return;
    }
    idle.push(stream);
    sweeping ??= setInterval(sweep, idleTimeoutMs / 2).unref();
  }

  /** Finishes the streams that are too old or were idle too long. */
  function sweep(): void {
    const nowMs = performance.now();
    for (const stream of idle.splice(0)) {
      const idleMs = stream.state.name === 'idle' ? nowMs - stream.state.sinceMs : 0;
      if (nowMs >= stream.expiresMs || idleMs >= idleTimeoutMs) stream.finish();
      else idle.push(stream);
    }
    if (idle.length > 0) return;
    clearInterval(sweeping);
    sweeping = undefined;
  }

  return {
    async call(request, limits) {
      const bytes = written(request);
      const used = limits.mayDouble ? idle.pop() : openCount < spread ? undefined : idle.shift();
      if (!used && limits.mayDouble?.()) return read(await firstOfTwo(bytes, limits));
      // The server may end a used stream before it reads the request; then a new stream carries it.
      const message = (used && (await used.exchange(bytes, limits))) ?? (await open().exchange(bytes, limits));
      if (message) return read(message);
      throw serviceError(statusOf(new CkvError('draining', 'the service ended the stream; call again')));
    },

    close() {
      closed = true;
      for (const stream of idle.splice(0)) stream.cancel('the client was closed');
    },
  };

  /** Two streams that are opened one after the other reach two servers, if there are two. */
  async function firstOfTwo(bytes: Buffer, { deadlineMs, signal }: ExchangeLimits): Promise<Buffer> {
    const enough = new AbortController();
    const limits = { deadlineMs, signal: signal ? AbortSignal.any([signal, enough.signal]) : enough.signal };
    const exchange = async () => {
      const message = await open().exchange(bytes, limits);
      if (message) return message;
      throw serviceError(statusOf(new CkvError('draining', 'the service ended the stream; call again')));
    };
    try {
      return await Promise.any([exchange(), exchange()]);
    } catch (thrown) {
      throw (thrown as AggregateError).errors[0];
    } finally {
      enough.abort();
    }
  }

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
