import { connect } from 'node:net';
import { HANG_MS } from './run-surface.js';

/** A service that sends nothing for this time has answered, or waits for more. */
const QUIET_MS = 20;

/**
 * Sends bytes on a new connection, and ends the sending side once the service is quiet. Returns all bytes of the
 * service.
 * @param address `host:port`
 * @throws Error if the service sends no byte and keeps the connection open
 */
export async function answerTo(bytes: Buffer, address: string, hangMs = HANG_MS): Promise<Buffer> {
  const [host = '', port] = address.split(':');
  const socket = connect({ host, port: Number(port) });
  const received: Buffer[] = [];
  let silent = false;
  const quiet = setTimeout(() => {
    socket.end();
    if (received.length > 0) socket.destroy(); // HTTP/2 keeps a connection whose peer only listens
  }, QUIET_MS);
  const limit = setTimeout(() => {
    silent = received.length === 0;
    socket.destroy();
  }, hangMs);
  socket.on('data', (chunk: Buffer) => {
    received.push(chunk);
    quiet.refresh();
  });
  socket.on('error', () => undefined); // the service may reset the connection
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  clearTimeout(quiet);
  clearTimeout(limit);
  if (silent) throw new Error(`hang: the service sent no byte and kept the connection for ${hangMs} ms`);
  return Buffer.concat(received);
}
