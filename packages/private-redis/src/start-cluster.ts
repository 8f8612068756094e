import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { askRedis } from './ask-redis.js';
import { freeNodePort } from './free-port.js';
import { type PrivateRedis, type StartOptions, startPrivateRedis } from './start-redis.js';

/** A private Redis cluster on loopback ports. */
export interface PrivateCluster {
  /** `redis+cluster://` URL of all nodes. */
  readonly url: string;
  /** The first primaries, then their replicas in the same order. Roles change at a failover. */
  readonly nodes: readonly PrivateRedis[];
  /** Restarts a killed node on the same port and data. */
  restartNode(i: number): Promise<void>;
  /**
   * Resolves when all slots are served, every other node follows its primary, and all nodes agree about roles and
   * epochs: a failover is possible.
   */
  untilReplicated(): Promise<void>;
  stop(): Promise<void>;
}

/** Options of {@link startPrivateCluster}. */
export interface ClusterOptions extends StartOptions {
  /** Number of primaries. */
  readonly nodeCount: number;
  /** True: every primary has one replica, which takes over about 4 s after the primary dies. */
  readonly replicas?: boolean;
}

const SLOTS = 16_384;
const AGREE_TIMEOUT_MS = 60_000;

/**
 * Starts primaries, and a replica of each if wished, and joins them to a cluster, for tests.
 * @throws Error if the nodes do not agree within 60 s
 */
export async function startPrivateCluster(options: ClusterOptions): Promise<PrivateCluster> {
  const { nodeCount, replicas = false } = options;
  const nodes: PrivateRedis[] = [];
  for (let i = 0; i < (replicas ? 2 : 1) * nodeCount; i++)
    nodes.push(await startNode(options, i, await freeNodePort()));
  const ports = nodes.map(({ port }) => port);
  const primaryPorts = ports.slice(0, nodeCount);
  for (const [i, port] of primaryPorts.entries()) {
    const [from, to] = [i, i + 1].map((n) => Math.floor((n * SLOTS) / nodeCount)) as [number, number];
    const slots = Array.from({ length: to - from }, (_, slot) => from + slot);
    await askRedis(port, `CLUSTER ADDSLOTS ${slots.join(' ')}`);
  }
  // Nodes that meet with equal epochs choose others. A replica that has not heard of its primary's gets no votes.
  for (const [i, port] of ports.entries()) await askRedis(port, `CLUSTER SET-CONFIG-EPOCH ${i + 1}`);
  for (const port of ports) await askRedis(port, `CLUSTER MEET 127.0.0.1 ${ports[0]}`);
  await untilAgreed();
  for (const [i, port] of ports.slice(nodeCount).entries()) {
    const [, primaryId = ''] = (await askRedis(primaryPorts[i] ?? 0, 'CLUSTER MYID')).split('\r\n');
    await until(() => accepts(port, `CLUSTER REPLICATE ${primaryId}`), 'the replicas do not know their primaries');
  }
  await untilReplicated();
  return {
    url: `redis+cluster://${ports.map((port) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    async restartNode(i) {
      nodes[i] = await startNode(options, i, ports[i] ?? 0);
    },
    untilReplicated,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };

  async function untilReplicated(): Promise<void> {
    await until(async () => {
      const states = await Promise.all(ports.map((port) => askRedis(port, 'INFO replication')));
      const following = states.filter((state) => state.includes('master_link_status:up'));
      return following.length === ports.length - nodeCount;
    }, 'the replicas do not follow');
    await untilAgreed();
  }

  /** Waits until all slots are served, and every node knows of every node what that one knows of itself. */
  function untilAgreed(): Promise<void> {
    return until(async () => {
      const states = await Promise.all(ports.map((port) => askRedis(port, 'CLUSTER INFO')));
      const views = await Promise.all(ports.map(viewOf));
      return (
        states.every((state) => state.includes('cluster_state:ok') && state.includes(`cluster_size:${nodeCount}\r`)) &&
        views.every((view) => view.length === ports.length && view.join() === views[0]?.join())
      );
    }, 'the cluster nodes do not agree');
  }
}

/** Returns what a node knows of each node that it is connected to: its id, flags, primary, epoch and slots. */
async function viewOf(port: number): Promise<string[]> {
  const nodes = (await askRedis(port, 'CLUSTER NODES')).split('\n').map((line) => line.trim().split(' '));
  const connected = nodes.filter(([, , , , , , , link]) => link === 'connected');
  return connected
    .map(([id, , flags, primaryId, , , epoch, , ...slots]) =>
      [id, flags?.replace('myself,', ''), primaryId, epoch, ...slots].join(' '),
    )
    .sort();
}

function startNode(options: StartOptions, i: number, port: number): Promise<PrivateRedis> {
  return startPrivateRedis({
    ...options,
    port,
    dataDir: join(options.dataDir, `node-${i}`),
    args: [
      ...['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--repl-diskless-sync-delay', '0'],
      ...(options.args ?? []),
    ],
  });
}

const accepts = (port: number, command: string) =>
  askRedis(port, command).then(
    () => true,
    () => false,
  );

async function until(condition: () => Promise<boolean>, problem: string): Promise<void> {
  const deadlineMs = performance.now() + AGREE_TIMEOUT_MS;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadlineMs) throw new Error(problem);
    await sleep(100);
  }
}
