import type { Socket } from 'node:net';
import type { ChannelCredentials } from '@grpc/grpc-js';

/** How long a new connection may take until the server speaks HTTP/2, ms. */
const LIMIT_MS = 5_000;
/** Bytes of the head of a frame. A server begins with one. */
const FRAME_HEAD_BYTES = 9;

/** Calls a function after {@link LIMIT_MS}. Returns a function that cancels this. */
type StartLimit = (onEnd: () => void) => () => void;

/**
 * Ends every new connection of these credentials on which the server does not speak HTTP/2 in time. Such a server is
 * silent, or does not finish the TLS handshake. grpc-js would wait for ever: it has no limit for this, and its
 * keepalive begins later. A network may lose a connection without a word as it is made.
 */
export function limitHandshakes(
  credentials: ChannelCredentials,
  startLimit: StartLimit = startTimer,
): typeof credentials {
  const createConnector = credentials._createSecureConnector.bind(credentials);
  credentials._createSecureConnector = (...args) => {
    const connector = createConnector(...args);
    const connect = connector.connect.bind(connector);
    connector.connect = async (socket) => {
      let clear: Socket | undefined; // carries HTTP/2; with TLS only after the handshake
      const cancel = startLimit(() => {
        if ((clear?.bytesRead ?? 0) >= FRAME_HEAD_BYTES) return;
        socket.destroy(new Error(`the server did not speak HTTP/2 within ${LIMIT_MS} ms`));
      });
      socket.once('close', cancel);
      const secured = await connect(socket);
      clear = secured.socket;
      return secured;
    };
    return connector;
  };
  return credentials;
}

function startTimer(onEnd: () => void): () => void {
  const timer = setTimeout(onEnd, LIMIT_MS).unref();
  return () => clearTimeout(timer);
}
