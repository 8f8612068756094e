import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP pipe to a server that can deliver what a client sent after the client has given up. */
export interface LatePipe {
  readonly port: number;
  /** Holds everything that clients send from now on. */
  hold(): void;
  heldBytes(): number;
  /** Ends the connections of the clients, and accepts no others. The server sees nothing of it. */
  cutClients(): void;
  /** Delivers the held bytes. */
  deliver(): void;
  close(): void;
}

/** Opens a pipe to a port of this machine. */
export async function openLatePipe(serverPort: number): Promise<LatePipe> {
  const clients = new Set<Socket>();
  const upstreams = new Set<Socket>();
  let held: { readonly to: Socket; readonly bytes: Buffer }[] = [];
  let holding = false;
  let cut = false;
  const server = createServer((client) => {
    if (cut) return client.destroy();
    const upstream = connect({ host: '127.0.0.1', port: serverPort });
    clients.add(client);
    upstreams.add(upstream);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.on('data', (bytes) => {
      if (holding) held.push({ to: upstream, bytes });
      else upstream.write(bytes);
    });
    upstream.on('data', (bytes) => client.write(bytes));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    hold() {
      holding = true;
    },
    heldBytes: () => held.reduce((sum, { bytes }) => sum + bytes.length, 0),
    cutClients() {
      cut = true;
      for (const client of clients) client.destroy();
    },
    deliver() {
      for (const { to, bytes } of held) to.write(bytes);
      held = [];
    },
    close() {
      for (const socket of [...clients, ...upstreams]) socket.destroy();
      server.close();
    },
  };
}
