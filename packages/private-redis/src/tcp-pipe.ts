import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way of the bytes through a pipe. */
export type PipeDirection = 'requests' | 'replies';

/** An address on loopback that leads to a server. Tests stall it, slow it, cut it, or lead it elsewhere. */
export interface TcpPipe {
  readonly port: number;
  /** Holds everything that is sent from now on in these directions; by default, what the clients send. */
  hold(...directions: PipeDirection[]): void;
  /** Bytes that are held now. */
  heldBytes(): number;
  /** Passes the held bytes on, and everything after them, also if the sender is gone. */
  release(): void;
  /** Delays all bytes in both directions; 0 ends the delay. */
  delay(ms: number): void;
  /**
   * From now on loses everything that is sent in these directions. Connections that were open while bytes were lost
   * stay lost after {@link TcpPipe.repair}: neither end sees that the other is gone.
   */
  lose(...directions: PipeDirection[]): void;
  /** Ends the loss for new connections. */
  repair(): void;
  /** Ends the connections of the clients, and accepts no others. The server sees the end after the held bytes. */
  cutClients(): void;
  /** Ends all connections, on both sides, and accepts no others. */
  cut(): void;
  /** Accepts connections again. */
  accept(): void;
  /** Leads new connections to another server. Open connections stay where they are. */
  moveTo(serverPort: number): void;
  close(): void;
}

/** The bytes that one socket sends to another. */
interface Lane {
  readonly direction: PipeDirection;
  readonly to: Socket;
  /** In order. Undefined bytes stand for the end of the stream. */
  readonly waiting: { readonly bytes: Buffer | undefined; readonly dueMs: number }[];
  lost: boolean;
}

interface Connection {
  readonly client: Socket;
  readonly upstream: Socket;
  readonly lanes: readonly Lane[];
}

/** Opens a pipe to a port of this machine. */
export async function openTcpPipe(serverPort: number): Promise<TcpPipe> {
  const connections = new Set<Connection>();
  const held = new Set<PipeDirection>();
  const lost = new Set<PipeDirection>();
  let target = serverPort;
  let delayMs = 0;
  let refusing = false;

  function pass(lane: Lane, bytes: Buffer | undefined): void {
    if (lane.lost) return;
    lane.waiting.push({ bytes, dueMs: performance.now() + delayMs });
    if (delayMs > 0) setTimeout(() => flush(lane), delayMs + 1); // a timer may be early
    flush(lane);
  }

  /** Sends what is due, unless it is held. */
  function flush({ direction, to, waiting }: Lane): void {
    while (waiting[0] && waiting[0].dueMs <= performance.now() && !held.has(direction)) {
      const { bytes } = waiting.shift() ?? {};
      if (to.destroyed) continue;
      if (bytes) to.write(bytes);
      else to.end();
    }
  }

  const server = createServer((client) => {
    if (refusing) return client.resetAndDestroy();
    const upstream = connect({ host: '127.0.0.1', port: target });
    const lane = (direction: PipeDirection, to: Socket): Lane => ({
      direction,
      to,
      waiting: [],
      lost: lost.has(direction),
    });
    const [requests, replies] = [lane('requests', upstream), lane('replies', client)];
    const connection = { client, upstream, lanes: [requests, replies] };
    connections.add(connection);
    for (const [from, way] of [
      [client, requests],
      [upstream, replies],
    ] as const) {
      from.on('error', () => undefined);
      from.on('data', (bytes) => pass(way, bytes));
      from.on('close', () => {
        pass(way, undefined);
        if (client.destroyed && upstream.destroyed) connections.delete(connection);
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    hold(...directions) {
      for (const direction of directions.length > 0 ? directions : (['requests'] as const)) held.add(direction);
    },
    heldBytes() {
      const waiting = [...connections].flatMap(({ lanes }) => lanes.flatMap((lane) => lane.waiting));
      return waiting.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0);
    },
    release() {
      held.clear();
      for (const { lanes } of connections) for (const lane of lanes) flush(lane);
    },
    delay(ms) {
      delayMs = ms;
    },
    lose(...directions) {
      for (const direction of directions) lost.add(direction);
      for (const { lanes } of connections) {
        for (const lane of lanes) lane.lost ||= lost.has(lane.direction);
      }
    },
    repair() {
      lost.clear();
    },
    cutClients() {
      refusing = true;
      for (const { client } of connections) client.destroy();
    },
    cut() {
      refusing = true;
      for (const { client, upstream } of connections) {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      }
    },
    accept() {
      refusing = false;
    },
    moveTo(port) {
      target = port;
    },
    close() {
      for (const { client, upstream } of connections) {
        client.destroy();
        upstream.destroy();
      }
      server.close();
    },
  };
}
