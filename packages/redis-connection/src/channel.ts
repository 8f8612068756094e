import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, type Redis, ReplyError } from 'ioredis';
import { isConnected, type RedisClient } from './connect-redis.js';

/** Parts of {@link watchChannel}. */
export interface ChannelWatch {
  readonly channel: string;
  readonly onMessage: (text: string) => void;
  /** Called when the watch begins, and when it goes on after a break: messages may have been missed. */
  readonly onBegun: () => void;
  /** Called with Redis's reply when it refuses the watch. */
  readonly onRefused: (error: Error) => void;
}

/** Pause before another node of a cluster is asked. */
const NEXT_NODE_MS = 100;
/** Pause between two looks at whether the server still answers. */
const PING_EVERY_MS = 5_000;

/**
 * Watches a channel until the connection is closed. Every node of a cluster passes on what is published at any. One of
 * them is watched, over a connection of its own; if that breaks, the next node. A server that is silent for 5 s after a
 * PING is left, so the watch goes on within 10 s. Without the right to PING, the refusals count as answers.
 * @param client a connection of its own that fails while Redis is away (`whenAway`): such a one notices the silence.
 * Unless it is a cluster's, it can do nothing else while it watches
 */
export function watchChannel(client: RedisClient, watch: ChannelWatch): void {
  if (client instanceof Cluster) void watchNodes(client, watch);
  else listen(client, watch);
}

function listen(connection: Redis, { channel, onMessage, onBegun, onRefused }: ChannelWatch): void {
  connection.on('message', (from: string, text: string) => {
    if (from === channel) onMessage(text);
  });
  let asking: NodeJS.Timeout | undefined;
  function begin(): void {
    connection.subscribe(channel).then(onBegun, (error) => {
      if (error instanceof ReplyError) onRefused(error); // otherwise the connection broke, and the watch goes on
    });
    // The connection closes if no answer comes.
    asking = setInterval(() => connection.ping().catch(() => undefined), PING_EVERY_MS).unref();
  }
  connection.on('close', () => clearInterval(asking));
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
