import type { Socket } from 'node:net';
import { AbstractConnector } from 'ioredis';

const streams = new WeakMap<object, Socket | undefined>();

/**
 * Listens to the errors of each stream that ioredis opens, for the stream's whole life. ioredis listens to the first one
 * and reports it. A stream with TLS may have a second error, such as a reset after a record that cannot be read, and an
 * error without a listener ends the process. This also holds for the clients that ioredis makes for itself: of
 * sentinels, of the nodes of a cluster, and for a cluster's messages.
 */
export function guardStreams(): void {
  Object.defineProperty(AbstractConnector.prototype, 'stream', {
    configurable: true,
    get(): Socket | undefined {
      return streams.get(this);
    },
    set(stream: Socket | undefined) {
      stream?.on('error', () => undefined);
      streams.set(this, stream);
    },
  });
}
