import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A fixed address of a server that can be replaced, like a virtual IP. */
export interface MovableAddress {
  readonly port: number;
  /** Leads new connections to another server. Open connections stay where they are. */
  moveTo(serverPort: number): void;
  close(): void;
}

/** Opens an address on loopback that leads to a port of this machine. */
export async function openMovableAddress(serverPort: number): Promise<MovableAddress> {
  const sockets = new Set<Socket>();
  let target = serverPort;
  const server = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port: target });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    moveTo(port) {
      target = port;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
