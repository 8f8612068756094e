import { type ConnectionOptions, connect } from 'node:tls';
import type { RedisNode } from './redis-url.js';

/**
 * Finds out why TLS to a server fails. ioredis keeps the failures of cluster nodes and sentinels to itself. If it
 * writes to a server that has refused its certificate, it sees only that the connection has ended.
 */
export interface TlsProbe {
  /** The last failure of TLS. Undefined if TLS works, or the server cannot be reached at all. */
  readonly failure: Error | undefined;
  /** Starts a look, unless one is under way or ended less than a second ago. */
  start(): void;
}

const PROBE_EVERY_MS = 1_000;
const PROBE_TIMEOUT_MS = 2_000;
/** How long a server may take to refuse a client's certificate: with TLS 1.3, after the client is connected. */
const REFUSAL_MS = 200;

/** Creates a probe of a server. It connects as the client does, and sends nothing. */
export function createTlsProbe({ host, port }: RedisNode, options: ConnectionOptions): TlsProbe {
  let failure: Error | undefined;
  let underWay = false;
  let endedMs = Number.NEGATIVE_INFINITY;

  function start(): void {
    if (underWay || performance.now() - endedMs < PROBE_EVERY_MS) return;
    underWay = true;
    const socket = connect({ ...options, host, port, timeout: PROBE_TIMEOUT_MS }).unref();
    const end = (found: Error | undefined) => {
      if (socket.destroyed && found === undefined) return; // it failed before
      failure = found;
      socket.destroy();
    };
    socket.on('secureConnect', () => setTimeout(() => end(undefined), REFUSAL_MS).unref());
    socket.on('timeout', () => end(undefined));
    socket.on('error', end);
    socket.on('close', () => {
      underWay = false;
      endedMs = performance.now();
    });
  }

  return {
    get failure() {
      return failure;
    },
    start,
  };
}
