import { connect } from 'node:net';
import { createFrameReader, FLAG, FRAME, frameOf, setStream, uint32, windowBytesOf } from './frames.js';
import { createTrailerReader, type Trailers } from './grpc-trailers.js';

/** What becomes of a call. */
export interface CallEvents {
  /** Called with each part of the answer. */
  onData(part: Buffer): void;
  /** Called once. `trailers` is undefined if the server reset the stream, or the connection was lost. */
  onEnd(trailers: Trailers | undefined): void;
}

/** A call that was sent, or waits to be sent. */
export interface OpenCall {
  /** Sends frames of this call, such as another message. They are changed and belong to the connection from now on. */
  send(frames: Buffer): void;
  /** Gives up. `onEnd` is not called any more. */
  cancel(): void;
}

/**
 * A connection of a load generator. It sends frames that were made before, and parses nothing that it need not know.
 */
export interface Http2Connection {
  /**
   * Opens a call with its frames, which belong to the connection from now on. It waits here while the server's limit of
   * streams or its window is used up.
   */
  open(frames: Buffer, events: CallEvents): OpenCall;
  /** Sends everything that was opened or sent since the last time. */
  flush(): void;
  readonly closed: boolean;
  close(): void;
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const SETTING = { headerTableSize: 1, enablePush: 2, maxConcurrentStreams: 3, initialWindowSize: 4 } as const;
const WINDOW_BYTES = 2 ** 30;
const CANCEL = uint32(8);

interface Stream extends CallEvents {
  readonly frames: Buffer;
  id: number;
}

/** Connects. Resolves when the server's settings have come. */
export function connectHttp2(port: number): Promise<Http2Connection> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const trailersOf = createTrailerReader();
  const streams = new Map<number, Stream>();
  let waiting: Stream[] = [];
  let outgoing: Buffer[] = [];
  let nextId = 1;
  let maxStreams = Number.POSITIVE_INFINITY;
  let sendWindow = 65_535;
  let receivedBytes = 0;
  let closed = false;

  const settings = Object.entries({ headerTableSize: 0, enablePush: 0, initialWindowSize: WINDOW_BYTES }).map(
    ([name, value]) => {
      const bytes = Buffer.alloc(6);
      bytes.writeUInt16BE(SETTING[name as keyof typeof SETTING], 0);
      bytes.writeUInt32BE(value, 2);
      return bytes;
    },
  );
  socket.write(PREFACE);
  socket.write(frameOf(FRAME.settings, 0, 0, Buffer.concat(settings)));
  socket.write(frameOf(FRAME.windowUpdate, 0, 0, uint32(WINDOW_BYTES)));

  function flush(): void {
    while (waiting[0] && streams.size < maxStreams && sendWindow >= windowBytesOf(waiting[0].frames)) {
      const stream = waiting.shift() as Stream;
      stream.id = nextId;
      nextId += 2;
      streams.set(stream.id, stream);
      push(stream.frames, stream.id);
    }
    if (outgoing.length === 0 || closed) return;
    socket.write(Buffer.concat(outgoing));
    outgoing = [];
  }

  function push(frames: Buffer, streamId: number): void {
    setStream(frames, streamId);
    sendWindow -= windowBytesOf(frames);
    outgoing.push(frames);
  }

  function end(stream: Stream, trailers: Trailers | undefined): void {
    if (streams.delete(stream.id)) stream.onEnd(trailers);
  }

  function onClosed(): void {
    if (closed) return;
    closed = true;
    const lost = [...streams.values(), ...waiting];
    streams.clear();
    waiting = [];
    for (const stream of lost) stream.onEnd(undefined);
  }

  function readSettings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) === SETTING.maxConcurrentStreams) maxStreams = payload.readUInt32BE(at + 2);
    }
    outgoing.push(frameOf(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)));
    flush();
  }

  let onReady: () => void = () => undefined;
  let onFailed: (error: Error) => void = () => undefined;
  const ready = new Promise<void>((resolve, reject) => {
    onReady = resolve;
    onFailed = reject;
  });
  const onBytes = createFrameReader((type, flags, streamId, payload) => {
    const stream = streams.get(streamId);
    if (type === FRAME.data) {
      receivedBytes += payload.length;
      stream?.onData(payload);
      if (flags & FLAG.endStream && stream) end(stream, undefined);
    } else if (type === FRAME.headers && stream) {
      if (!(flags & FLAG.endHeaders)) throw new Error('the server splits its headers');
      if (flags & FLAG.endStream) end(stream, trailersOf(payload));
    } else if (type === FRAME.rstStream && stream) {
      end(stream, undefined);
    } else if (type === FRAME.windowUpdate && streamId === 0) {
      sendWindow += payload.readUInt32BE(0);
    } else if (type === FRAME.settings && !(flags & FLAG.ack)) {
      readSettings(payload);
      onReady();
    } else if (type === FRAME.ping && !(flags & FLAG.ack)) {
      outgoing.push(frameOf(FRAME.ping, FLAG.ack, 0, payload));
    } else if (type === FRAME.goAway) {
      socket.destroy();
    }
  });
  socket.on('data', (chunk) => {
    onBytes(chunk);
    if (receivedBytes > WINDOW_BYTES / 2) {
      outgoing.push(frameOf(FRAME.windowUpdate, 0, 0, uint32(receivedBytes)));
      receivedBytes = 0;
    }
    flush();
  });
  socket.on('close', onClosed);
  socket.on('error', onFailed);

  const connection: Http2Connection = {
    open(frames, events) {
      const stream: Stream = { ...events, frames, id: 0 };
      if (closed) setImmediate(() => stream.onEnd(undefined));
      else waiting.push(stream);
      return {
        send: (more) => push(more, stream.id),
        cancel() {
          waiting = stream.id === 0 ? waiting.filter((other) => other !== stream) : waiting;
          if (streams.delete(stream.id)) outgoing.push(frameOf(FRAME.rstStream, 0, stream.id, CANCEL));
        },
      };
    },
    flush,
    get closed() {
      return closed;
    },
    close: () => socket.destroy(),
  };
  return ready.then(() => connection);
}
