import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP pipe to a server. A test can hold the bytes that clients send, and let them pass later. */
export interface StallingPipe {
  readonly port: number;
  /** Holds everything that clients send from now on. */
  stall(): void;
  /** Bytes that are held now. */
  heldBytes(): number;
  /** Passes the held bytes on, and everything after them. */
  release(): void;
  close(): void;
}

/** Opens a pipe to a port of this machine. */
export async function openStallingPipe(serverPort: number): Promise<StallingPipe> {
  const sockets = new Set<Socket>();
  let held: { readonly to: Socket; readonly bytes: Buffer }[] = [];
  let stalled = false;

  const server = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port: serverPort });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.on('data', (bytes) => {
      if (stalled) held.push({ to: upstream, bytes });
      else upstream.write(bytes);
    });
    upstream.pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    stall() {
      stalled = true;
    },
    heldBytes: () => held.reduce((sum, { bytes }) => sum + bytes.length, 0),
    release() {
      stalled = false;
      for (const { to, bytes } of held) to.write(bytes);
      held = [];
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
