import { FLAG, FRAME, frameOf, headerBlock } from './frames.js';
import type { Trailers } from './grpc-trailers.js';
import type { Http2Connection, OpenCall } from './http2-connection.js';
import type { Outcome } from './phase-record.js';
import type { FloodPlan } from './plan.js';

/** Sends the requests of a flood on one connection. */
export interface Requests {
  /**
   * Sends request number `number`. Calls `onEnd` once with its outcome, unless it is cancelled first. Returns a way to
   * cancel it.
   */
  send(number: number, onEnd: (outcome: Outcome) => void): () => void;
}

const RESOURCE_EXHAUSTED = 8;
const DEADLINE_EXCEEDED = 4;
const STREAM_AGE_MS = 1_000;
const PREFIX_BYTES = 5;

/** Returns the outcome of a call that ended. */
function outcomeOf(trailers: Trailers | undefined): Outcome {
  if (!trailers) return { kind: 'failed', status: 'lost' };
  if (trailers.status === 0) return { kind: 'answered' };
  if (trailers.status === RESOURCE_EXHAUSTED) return { kind: 'refused', delayed: trailers.retryAfterMs !== undefined };
  if (trailers.status === DEADLINE_EXCEEDED) return { kind: 'late' };
  return { kind: 'failed', status: String(trailers.status) };
}

/** Makes the frames of requests. */
interface Frames {
  /** Returns the frames of a call's first request. */
  opening(number: number): Buffer;
  /** Returns the frames of a further request on a stream. */
  body(number: number): Buffer;
}

function framesOf({ path, port, timeoutMs, kind, messages, numberAt = [] }: FloodPlan): Frames {
  const headers = headerBlock({
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': `127.0.0.1:${port}`,
    te: 'trailers',
    'content-type': 'application/grpc',
    ...(kind === 'calls' ? { 'grpc-timeout': `${timeoutMs}m` } : {}),
  });
  const opening = frameOf(FRAME.headers, FLAG.endHeaders, 0, headers);
  const bodies = messages.map((message) => {
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(message.length, 1);
    return frameOf(FRAME.data, kind === 'calls' ? FLAG.endStream : 0, 0, Buffer.concat([prefix, message]));
  });
  const numbered = (before: Buffer, number: number) => {
    const message = number % messages.length;
    const frames = Buffer.concat([before, bodies[message] as Buffer]);
    const messageAt = frames.length - (messages[message] as Uint8Array).length;
    for (const at of numberAt[message] ?? []) frames.write(String(number).padStart(8, '0'), messageAt + at, 'latin1');
    return frames;
  };
  return {
    opening: (number) => numbered(opening, number),
    body: (number) => numbered(Buffer.alloc(0), number),
  };
}

/** Creates the sender of a plan's requests on a connection. */
export function createRequests(connection: Http2Connection, plan: FloodPlan): Requests {
  const frames = framesOf(plan);
  return plan.kind === 'calls' ? callRequests(connection, frames) : streamRequests(connection, frames);
}

function callRequests(connection: Http2Connection, frames: Frames): Requests {
  return {
    send(number, onEnd) {
      const call = connection.open(frames.opening(number), {
        onData: () => undefined,
        onEnd: (trailers) => onEnd(outcomeOf(trailers)),
      });
      return call.cancel;
    },
  };
}

interface SharedStream {
  readonly expiresMs: number;
  call: OpenCall;
  onEnd: ((outcome: Outcome) => void) | undefined;
  leftBytes: number;
}

/** Requests take turns on open streams. As in the SDK, a stream is used for about a second. */
function streamRequests(connection: Http2Connection, frames: Frames): Requests {
  const idle: SharedStream[] = [];
  const finish = () => frameOf(FRAME.data, FLAG.endStream, 0, Buffer.alloc(0));

  function open(number: number, onEnd: (outcome: Outcome) => void): SharedStream {
    const expiresMs = performance.now() + STREAM_AGE_MS * (0.75 + Math.random() / 2);
    const stream: Omit<SharedStream, 'call'> = { expiresMs, onEnd, leftBytes: 0 };
    const call = connection.open(frames.opening(number), {
      onData(part) {
        if (stream.leftBytes === 0) stream.leftBytes = PREFIX_BYTES + part.readUInt32BE(1);
        stream.leftBytes -= part.length;
        if (stream.leftBytes > 0) return;
        const answered = stream.onEnd;
        stream.onEnd = undefined;
        if (performance.now() >= stream.expiresMs) shared.call.send(finish());
        else idle.push(shared);
        answered?.({ kind: 'answered' });
      },
      onEnd(trailers) {
        const at = idle.indexOf(shared);
        if (at >= 0) idle.splice(at, 1);
        if (trailers) shared.call.send(finish()); // this side is still open; a caller of grpc-js ends it so, too
        stream.onEnd?.(outcomeOf(trailers));
      },
    });
    const shared = Object.assign(stream, { call });
    return shared;
  }

  function next(number: number, onEnd: (outcome: Outcome) => void): SharedStream {
    for (let stream = idle.shift(); stream; stream = idle.shift()) {
      if (performance.now() >= stream.expiresMs) stream.call.send(finish());
      else {
        stream.onEnd = onEnd;
        stream.call.send(frames.body(number));
        return stream;
      }
    }
    return open(number, onEnd);
  }

  return {
    send(number, onEnd) {
      const stream = next(number, onEnd);
      return () => stream.call.cancel();
    },
  };
}
