import { connect } from 'node:net';

/**
 * Sends an inline command to a server on loopback.
 * @returns the text of the reply
 * @throws Error with an error reply, or if the server cannot be reached or is silent for 5 s
 */
export function askRedis(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: SILENCE_MS });
    let reply = '';
    socket.on('connect', () => socket.write(`${command}\r\n`));
    socket.on('data', (bytes) => {
      reply += bytes;
      if (!isWhole(reply)) return;
      socket.destroy();
      if (reply.startsWith('-')) reject(new Error(reply.trim()));
      else resolve(reply);
    });
    socket.on('timeout', () => socket.destroy(new Error(`no reply on port ${port}`)));
    socket.on('error', reject);
    socket.on('end', () => reject(new Error(`port ${port} closed the connection`)));
  });
}

const SILENCE_MS = 5_000;

/** True if a reply is complete: a bulk string has the length that it announces. */
function isWhole(reply: string): boolean {
  if (!reply.endsWith('\r\n')) return false;
  const length = /^\$(\d+)\r\n/.exec(reply);
  return !length?.[1] || Buffer.byteLength(reply) >= length[0].length + Number(length[1]) + 2;
}
