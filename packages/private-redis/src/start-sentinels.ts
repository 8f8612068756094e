import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { askRedis } from './ask-redis.js';
import { findRedis } from './find-redis.js';
import { freePort } from './free-port.js';
import { launchServer, type ServerProcess } from './launch-server.js';
import { type PrivateRedis, type StartOptions, startPrivateRedis } from './start-redis.js';

/** A primary and a replica that three sentinels watch, on loopback ports. */
export interface SentinelDeployment {
  /** `redis+sentinel://` URL of the sentinels. */
  readonly url: string;
  /** The first primary, and its replica. Roles change at a failover. */
  readonly servers: readonly PrivateRedis[];
  /** Returns the port of the server that the sentinels call the primary. */
  primaryPort(): Promise<number>;
  /** Resolves when the replica has all data and every sentinel knows of it: a failover is possible. */
  untilReplicated(): Promise<void>;
  /** Restarts a killed server on the same port and data. */
  restartServer(i: number): Promise<void>;
  stop(): Promise<void>;
}

const PRIMARY_NAME = 'main';
const QUORUM = 2;
/** A silent primary counts as dead after this time. */
const DOWN_AFTER_MS = 1_000;
const SETTLE_TIMEOUT_MS = 60_000;

/**
 * Starts a primary, its replica and three sentinels, for tests. The sentinels replace a primary that is silent for 1 s.
 * @throws Error if the replica does not follow within 60 s
 */
export async function startSentinelDeployment(options: StartOptions): Promise<SentinelDeployment> {
  const start = (i: number, port: number, primaryPort?: number) =>
    startPrivateRedis({
      ...options,
      port,
      dataDir: join(options.dataDir, `server-${i}`),
      args: [
        ...['--repl-diskless-sync-delay', '0'],
        ...(primaryPort === undefined ? [] : ['--replicaof', `127.0.0.1 ${primaryPort}`]),
        ...(options.args ?? []),
      ],
    });
  const ports = [await freePort(), await freePort()] as const;
  const servers = [await start(0, ports[0]), await start(1, ports[1], ports[0])];
  const sentinels: ServerProcess[] = [];
  for (let i = 0; i < 3; i++) sentinels.push(await startSentinel(options, i, ports[0]));
  const sentinelPorts = sentinels.map(({ port }) => port);

  async function primaryPort(): Promise<number> {
    const reply = await askRedis(sentinelPorts[0] ?? 0, `SENTINEL GET-MASTER-ADDR-BY-NAME ${PRIMARY_NAME}`);
    return Number(reply.trim().split('\r\n').at(-1));
  }

  async function untilReplicated(): Promise<void> {
    const deadlineMs = performance.now() + SETTLE_TIMEOUT_MS;
    while (!(await isReplicated().catch(() => false))) {
      if (performance.now() > deadlineMs)
        throw new Error('the replica does not follow, or a sentinel does not know it');
      await sleep(50);
    }
  }

  async function isReplicated(): Promise<boolean> {
    const primary = await primaryPort();
    const replica = ports.find((port) => port !== primary) ?? 0;
    const follows = (await askRedis(replica, 'INFO replication')).includes('master_link_status:up');
    const known = await Promise.all(sentinelPorts.map((port) => askRedis(port, 'INFO sentinel')));
    const complete = new RegExp(`address=127.0.0.1:${primary},slaves=1,sentinels=3`);
    return follows && known.every((text) => complete.test(text) && text.includes('status=ok'));
  }

  await untilReplicated();
  return {
    url: `redis+sentinel://${sentinelPorts.map((port) => `127.0.0.1:${port}`).join(',')}/${PRIMARY_NAME}`,
    servers,
    primaryPort,
    untilReplicated,
    async restartServer(i) {
      const port = ports[i] ?? 0;
      const primary = await primaryPort();
      servers[i] = await start(i, port, primary === port ? undefined : primary);
    },
    async stop() {
      await Promise.all(sentinels.map((sentinel) => sentinel.stop()));
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}

async function startSentinel(options: StartOptions, i: number, primaryPort: number): Promise<ServerProcess> {
  const dir = join(options.dataDir, `sentinel-${i}`);
  await mkdir(dir, { recursive: true });
  const port = await freePort();
  const config = join(dir, 'sentinel.conf');
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${dir}`,
    `sentinel monitor ${PRIMARY_NAME} 127.0.0.1 ${primaryPort} ${QUORUM}`,
    `sentinel down-after-milliseconds ${PRIMARY_NAME} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${PRIMARY_NAME} 5000`,
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  return launchServer(await findRedis(options), { args: [config, '--sentinel'], port, signal: options.signal });
}
