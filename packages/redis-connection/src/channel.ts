import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, type Redis } from 'ioredis';
import { isConnected, type RedisClient } from './connect-redis.js';

/** Parts of {@link watchChannel}. */
export interface ChannelWatch {
  readonly channel: string;
  readonly onMessage: (text: string) => void;
  /** Called when the watch begins, and when it goes on after a break: messages may have been missed. */
  readonly onBegun: () => void;
  /** Called when Redis refuses the watch. */
  readonly onRefused: (error: Error) => void;
}

/** Pause before another node of a cluster is asked. */
const NEXT_NODE_MS = 100;

/**
 * Watches a channel until the connection is closed. Every node of a cluster passes on what is published at any. One of
 * them is watched, over a connection of its own; if that breaks, the next node.
 * @param client a connection of its own, unless it is a cluster's: it can do nothing else while it watches
 */
export function watchChannel(client: RedisClient, watch: ChannelWatch): void {
  if (client instanceof Cluster) void watchNodes(client, watch);
  else listen(client, watch);
}

function listen(connection: Redis, { channel, onMessage, onBegun, onRefused }: ChannelWatch): void {
  connection.on('message', (from: string, text: string) => {
    if (from === channel) onMessage(text);
  });
  const begin = () => void connection.subscribe(channel).then(onBegun, onRefused);
  connection.on('ready', begin);
  if (isConnected(connection)) begin();
}

async function watchNodes(cluster: Cluster, watch: ChannelWatch): Promise<void> {
  let closed = false;
  let watched: Redis | undefined;
  cluster.on('end', () => {
    closed = true;
    watched?.disconnect();
  });
  // A node that left the cluster may hear nothing more, and keep its connection.
  cluster.on('-node', ({ options }: Redis) => {
    if (watched?.options.host === options.host && watched?.options.port === options.port) watched?.disconnect();
  });
  for (let turn = 0; !closed; turn++) {
    const nodes = cluster.nodes('all');
    const node = nodes[turn % Math.max(1, nodes.length)];
    if (node) {
      watched = node.duplicate({ retryStrategy: () => null, lazyConnect: true });
      await listenUntilEnd(watched, watch);
    }
    await sleep(NEXT_NODE_MS);
  }
}

async function listenUntilEnd(connection: Redis, watch: ChannelWatch): Promise<void> {
  connection.on('error', () => undefined); // the cluster's own connections report it
  listen(connection, watch);
  const ended = new Promise((resolve) => connection.once('end', resolve));
  await connection.connect().catch(() => undefined); // ends
  await ended;
}
