import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openTcpPipe, type TcpPipe } from './tcp-pipe.js';

const WAIT = { timeout: 10_000 };
let server: Server;
/** What the server of this test has read, of all connections, and how many connections have ended. */
let seen: { read: string; ended: number };
let pipe: TcpPipe;
let clients: Socket[];
beforeEach(async () => {
  const own = { read: '', ended: 0 };
  seen = own;
  clients = [];
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      own.read += bytes;
      socket.write(`re:${bytes}`);
    });
    socket.on('close', () => {
      own.ended++;
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  pipe = await openTcpPipe((server.address() as AddressInfo).port);
});
afterEach(() => {
  for (const client of clients) client.destroy();
  pipe.close();
  server.close();
});

/** A client, and what it has read. */
async function connected(): Promise<{ socket: Socket; text(): string; closed(): boolean }> {
  const socket = connect({ host: '127.0.0.1', port: pipe.port });
  clients.push(socket);
  let text = '';
  let closed = false;
  socket.on('error', () => undefined);
  socket.on('data', (bytes) => {
    text += bytes;
  });
  socket.on('close', () => {
    closed = true;
  });
  await once(socket, 'connect');
  return { socket, text: () => text, closed: () => closed };
}

/** A client that has had an answer. */
async function answered(): ReturnType<typeof connected> {
  const client = await connected();
  client.socket.write('a');
  await vi.waitUntil(() => client.text() === 're:a', WAIT);
  return client;
}

describe('a TCP pipe', () => {
  it('holds both directions and delivers them in order, and then the end', async () => {
    const client = await answered();
    pipe.hold('requests', 'replies');
    client.socket.write('b');
    client.socket.end('c');
    await vi.waitUntil(() => pipe.heldBytes() === 2, WAIT);
    expect(seen.read).toBe('a');
    pipe.release();
    await vi.waitUntil(() => seen.read === 'abc' && seen.ended === 1, WAIT);
  });

  it('delivers held requests after their client was cut', async () => {
    const client = await answered();
    pipe.hold();
    client.socket.write('b');
    await vi.waitUntil(() => pipe.heldBytes() === 1, WAIT);
    pipe.cutClients();
    await vi.waitUntil(client.closed, WAIT);
    pipe.release();
    await vi.waitUntil(() => seen.read === 'ab', WAIT);
  });

  it('delays both directions, in order', async () => {
    const client = await answered();
    pipe.delay(20);
    client.socket.write('b');
    await vi.waitUntil(() => client.text() === 're:are:b', WAIT);
    pipe.delay(0);
    client.socket.write('c');
    await vi.waitUntil(() => client.text() === 're:are:bre:c', WAIT);
  });

  it('loses replies, and leaves lost connections lost', async () => {
    const client = await answered();
    pipe.lose('replies');
    client.socket.write('b');
    await vi.waitUntil(() => seen.read === 'ab', WAIT);
    pipe.repair();
    client.socket.write('c');
    await vi.waitUntil(() => seen.read === 'abc', WAIT);
    await answered(); // a new connection works
    expect(client.text()).toBe('re:a');
    expect(client.closed()).toBe(false);
  });

  it('cuts all connections, and accepts new ones again', async () => {
    const client = await answered();
    pipe.cut();
    await vi.waitUntil(() => client.closed() && seen.ended === 1, WAIT);
    const refused = connect({ host: '127.0.0.1', port: pipe.port });
    refused.on('error', () => undefined);
    await vi.waitUntil(() => refused.closed, WAIT);
    pipe.accept();
    await answered();
  });

  it('leads new connections to another server', async () => {
    const other = createServer((socket) => socket.end('other')).listen(0, '127.0.0.1');
    await once(other, 'listening');
    pipe.moveTo((other.address() as AddressInfo).port);
    const client = await connected();
    await vi.waitUntil(() => client.text() === 'other', WAIT);
    other.close();
  });
});
