import type { Socket } from 'node:net';
import type { ChannelCredentials } from '@grpc/grpc-js';

/** How long a server may be silent on a new connection, ms. */
const SILENCE_MS = 5_000;

/**
 * Ends every new connection of these credentials on which the server stays silent. grpc-js would wait for ever: it has
 * no limit for this, and its keepalive begins later. A network may lose a connection without a word as it is made.
 */
export function limitHandshakes(credentials: ChannelCredentials): ChannelCredentials {
  const createConnector = credentials._createSecureConnector.bind(credentials);
  credentials._createSecureConnector = (...args) => {
    const connector = createConnector(...args);
    const connect = connector.connect.bind(connector);
    connector.connect = (socket) => {
      endIfSilent(socket);
      return connect(socket);
    };
    return connector;
  };
  return credentials;
}

function endIfSilent(socket: Socket): void {
  const timer = setTimeout(() => {
    if (socket.bytesRead === 0) socket.destroy(new Error(`the server was silent for ${SILENCE_MS} ms`));
  }, SILENCE_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}
