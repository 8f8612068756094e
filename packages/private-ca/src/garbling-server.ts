import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { CertificatePair } from './certificate-authority.js';

/**
 * A TLS server on loopback that gives each client two errors. It answers the first bytes after the handshake with a
 * record that nobody can read. When the client has refused this record, the server resets the connection.
 */
export interface GarblingServer {
  readonly port: number;
  /** Connections that were reset. */
  readonly resetCount: number;
  close(): void;
}

const APPLICATION_DATA = 0x17;
const ALERT = 0x15;
const HEAD_BYTES = 5;
const UNREADABLE = Buffer.from([APPLICATION_DATA, 3, 3, 0, 32, ...new Uint8Array(32)]);

/** Starts a server with this certificate. */
export async function startGarblingServer(pair: CertificatePair): Promise<GarblingServer> {
  const sockets = new Set<Socket>();
  const garbles = new Map<number | undefined, () => void>(); // by the port of the relay
  let resetCount = 0;
  const opened = (socket: Socket) => {
    sockets.add(socket);
    return socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  };

  // In TLS 1.2 the kind of a record can be read on its way.
  const tls = createTlsServer({ ...pair, maxVersion: 'TLSv1.2', ALPNProtocols: ['h2'] }, (socket) => {
    opened(socket).once('data', () => garbles.get(socket.remotePort)?.());
  }).listen(0, '127.0.0.1');
  await once(tls, 'listening');
  const { port: tlsPort } = tls.address() as AddressInfo;

  const server = createServer((client) => {
    let garbled = false;
    const relay = opened(connect(tlsPort, '127.0.0.1'));
    relay.on('connect', () => {
      garbles.set(relay.localPort, () => {
        garbled = true;
        client.write(UNREADABLE);
      });
    });
    relay.on('data', (bytes) => {
      if (!garbled) client.write(bytes);
    });
    opened(client).on('data', (bytes) => {
      if (!garbled) relay.write(bytes);
      else if (recordKinds(bytes).includes(ALERT)) {
        resetCount++;
        client.resetAndDestroy();
      }
    });
    client.on('close', () => relay.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    get resetCount() {
      return resetCount;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      tls.close();
    },
  };
}

/** Returns the kind of each TLS record. */
function recordKinds(bytes: Buffer): number[] {
  const kinds: number[] = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; at += HEAD_BYTES + bytes.readUInt16BE(at + 3)) {
    kinds.push(bytes[at] ?? 0);
  }
  return kinds;
}
