import { once } from 'node:events';
import { toCkvError } from '@collectivekv/domain';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { statusOf } from '../errors/grpc-errors.js';

/**
 * The life of a stream of requests, as the server sees it:
 * - `waiting`: the next request may come. The idle timer and a drain end the stream.
 * - `answering`: a handler has a request, or its answer waits for the caller to read. A drain ends the stream
 *   afterwards.
 * - `ended`: this side has ended the stream. A request that still comes is not read; the caller sends it again.
 */
type RequestStreamState = 'waiting' | 'answering' | 'ended';

/** Options of {@link serveRequestStream}. */
export interface RequestStreamOptions {
  /** How long the stream may wait for a request, ms. */
  readonly idleTimeoutMs: number;
  /** Aborts when the service begins to shut down. */
  readonly draining: AbortSignal;
  /** Answers one request through `send`. Throws a CkvError if there is no answer. */
  readonly answer: (request: unknown, send: (response: unknown) => void) => Promise<void>;
}

/**
 * Answers the requests of a stream, each before it reads the next. The stream ends with OK when the caller ends it,
 * when no request comes for the idle time, or when the service shuts down. The first failure ends it with its status.
 */
export async function serveRequestStream(
  call: ServerDuplexStream<unknown, unknown>,
  { idleTimeoutMs, draining, answer }: RequestStreamOptions,
): Promise<void> {
  const stream: { state: RequestStreamState } = { state: 'waiting' };
  const end = () => {
    stream.state = 'ended';
    call.end();
  };
  const endIfWaiting = () => {
    if (stream.state === 'waiting') end();
  };
  const idle = setTimeout(endIfWaiting, idleTimeoutMs);
  draining.addEventListener('abort', endIfWaiting, { once: true });
  try {
    for await (const request of call.iterator({ destroyOnReturn: false })) {
      if (stream.state === 'ended') break;
      stream.state = 'answering';
      let flushed = true;
      await answer(request, (response) => {
        flushed = call.write(response);
      });
      if (!flushed && !call.destroyed) await drained(call);
      if (draining.aborted) break;
      stream.state = 'waiting';
      idle.refresh();
    }
    if (stream.state !== 'ended') end();
  } catch (error) {
    stream.state = 'ended';
    if (!call.cancelled) call.emit('error', statusOf(toCkvError(error)));
  } finally {
    clearTimeout(idle);
    draining.removeEventListener('abort', endIfWaiting);
  }
}

/** Resolves when the stream takes more, or has ended. */
async function drained(call: ServerDuplexStream<unknown, unknown>): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  await Promise.race([once(call, 'drain', { signal }), once(call, 'close', { signal })]).finally(() => over.abort());
}
