import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { answerTo } from './answer-to.js';

let server: Server;
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.close();
});

/** Starts a service that does this with each connection. Returns its address. */
async function serve(attend: (socket: Socket) => void): Promise<string> {
  server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket.on('error', () => undefined));
    attend(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it('reports a service that sends no byte and keeps the connection', async () => {
  const address = await serve((socket) => socket.resume());
  await expect(answerTo(Buffer.from('x'), address, 100)).rejects.toThrow(/^hang: the service sent no byte/);
});

it.each<[string, (socket: Socket) => void, string]>([
  ['answers and keeps the connection', (socket) => socket.resume().write('answer'), 'answer'],
  ['answers at the end of the input', (socket) => socket.resume().once('end', () => socket.write('late')), 'late'],
  ['closes without an answer', (socket) => socket.resume().end(), ''],
  ['resets the connection', (socket) => socket.resetAndDestroy(), ''],
])('takes the answer of a service that %s', async (_, attend, answer) => {
  const address = await serve(attend);
  expect(String(await answerTo(Buffer.from('x'), address))).toBe(answer);
});
