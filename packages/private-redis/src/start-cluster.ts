import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, type PrivateRedis, type StartOptions, startPrivateRedis } from './start-redis.js';

/** A private Redis cluster on loopback ports. */
export interface PrivateCluster {
  /** `redis+cluster://` URL of all nodes. */
  readonly url: string;
  readonly nodes: readonly PrivateRedis[];
  /** Restarts a killed node on the same port and data. */
  restartNode(i: number): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const JOIN_TIMEOUT_MS = 30_000;
/** A node's bus port is its own port plus 10,000, and must be at most 65,535. */
const MAX_NODE_PORT = 55_535;

/**
 * Starts primaries without replicas and joins them to a cluster, for tests.
 * @throws Error if the nodes do not agree within 30 s
 */
export async function startPrivateCluster(
  options: StartOptions & { readonly nodeCount: number },
): Promise<PrivateCluster> {
  const nodes: PrivateRedis[] = [];
  for (let i = 0; i < options.nodeCount; i++) nodes.push(await startNode(options, i, await nodePort()));
  const ports = nodes.map(({ url }) => Number(new URL(url).port));
  for (const [i, port] of ports.entries()) {
    const [from, to] = [i, i + 1].map((n) => Math.floor((n * SLOTS) / ports.length)) as [number, number];
    const slots = Array.from({ length: to - from }, (_, slot) => from + slot);
    await ask(port, `CLUSTER ADDSLOTS ${slots.join(' ')}`);
    await ask(port, `CLUSTER MEET 127.0.0.1 ${ports[0]}`);
  }
  const deadlineMs = Date.now() + JOIN_TIMEOUT_MS;
  while (!(await agree(ports))) {
    if (Date.now() > deadlineMs) throw new Error('the cluster nodes do not agree');
    await sleep(100);
  }
  return {
    url: `redis+cluster://${ports.map((port) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    async restartNode(i) {
      nodes[i] = await startNode(options, i, ports[i] ?? 0);
    },
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

async function nodePort(): Promise<number> {
  let port = await freePort();
  while (port > MAX_NODE_PORT) port = await freePort();
  return port;
}

function startNode(options: StartOptions, i: number, port: number): Promise<PrivateRedis> {
  return startPrivateRedis({
    ...options,
    port,
    dataDir: join(options.dataDir, `node-${i}`),
    args: ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'],
  });
}

async function agree(ports: readonly number[]): Promise<boolean> {
  const states = await Promise.all(ports.map((port) => ask(port, 'CLUSTER INFO')));
  return states.every((state) => state.includes('cluster_state:ok') && state.includes(`cluster_size:${ports.length}`));
}

/** Sends an inline command. Returns the text of the reply. */
function ask(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    let reply = '';
    socket.on('connect', () => socket.write(`${command}\r\n`));
    socket.on('data', (bytes) => {
      reply += bytes;
      if (!reply.endsWith('\r\n')) return;
      socket.destroy();
      if (reply.startsWith('-')) reject(new Error(reply.trim()));
      else resolve(reply);
    });
    socket.on('error', reject);
  });
}
