import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** An address on loopback that leads to a server. Tests stall it, cut it, or lead it elsewhere. */
export interface TcpPipe {
  readonly port: number;
  /** Holds everything that clients send from now on. */
  hold(): void;
  /** Bytes that are held now. */
  heldBytes(): number;
  /** Passes the held bytes on, and everything after them. */
  release(): void;
  /** Ends the connections of the clients, and accepts no others. The server sees nothing of it. */
  cutClients(): void;
  /** Leads new connections to another server. Open connections stay where they are. */
  moveTo(serverPort: number): void;
  close(): void;
}

/** Opens a pipe to a port of this machine. */
export async function openTcpPipe(serverPort: number): Promise<TcpPipe> {
  const clients = new Set<Socket>();
  const upstreams = new Set<Socket>();
  let held: { readonly to: Socket; readonly bytes: Buffer }[] = [];
  let target = serverPort;
  let holding = false;
  let cut = false;

  const server = createServer((client) => {
    if (cut) return client.destroy();
    const upstream = connect({ host: '127.0.0.1', port: target });
    clients.add(client);
    upstreams.add(upstream);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.on('data', (bytes) => {
      if (holding) held.push({ to: upstream, bytes });
      else upstream.write(bytes);
    });
    upstream.pipe(client);
    client.on('close', () => {
      if (!cut) upstream.destroy();
    });
    upstream.on('close', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    hold() {
      holding = true;
    },
    heldBytes: () => held.reduce((sum, { bytes }) => sum + bytes.length, 0),
    release() {
      holding = false;
      for (const { to, bytes } of held) to.write(bytes);
      held = [];
    },
    cutClients() {
      cut = true;
      for (const client of clients) client.destroy();
    },
    moveTo(port) {
      target = port;
    },
    close() {
      for (const socket of [...clients, ...upstreams]) socket.destroy();
      server.close();
    },
  };
}
