import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const FIRST = 10_000;
/** A cluster node's bus port is its own port plus this. */
const BUS_DISTANCE = 10_000;
/** Where the ports of outgoing connections begin, unless the machine says otherwise. */
const USUAL_END = 32_768;

/**
 * Returns a loopback port that no process listens on at this moment. It is below the ports of outgoing connections,
 * which could take it while its server restarts.
 */
export function freePort(): Promise<number> {
  return chooseFree([0]);
}

/** Returns a {@link freePort} for a node of a Redis cluster. The port of the node's bus is free as well. */
export function freeNodePort(): Promise<number> {
  return chooseFree([0, BUS_DISTANCE]);
}

/** Chooses a port that is free, and so are those at the distances from it. At random: processes seldom choose the same. */
async function chooseFree(distances: readonly number[]): Promise<number> {
  const count = endOfPorts() - Math.max(...distances) - FIRST;
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * count);
    const free = await Promise.all(distances.map((distance) => isFree(port + distance)));
    if (!free.includes(false)) return port;
  }
}

function endOfPorts(): number {
  let end = Number.NaN;
  try {
    end = Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10);
  } catch {
    // another system than Linux
  }
  // A range that begins too early leaves no room below it.
  return end > FIRST + BUS_DISTANCE ? end : USUAL_END;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
  server.close();
  await once(server, 'close');
  return true;
}
