import { type PrivateRedis, type StartOptions, startPrivateRedis, supplyPower } from '@collectivekv/private-redis';

/** A redis-server of a topology, as faults reach it. */
export interface RedisNode {
  /** For faults' names, such as `redis` or `primary 2`. */
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  /** Ends the server by SIGKILL. */
  kill(): Promise<void>;
  /** Starts a killed server again, on the same port and data. */
  restart(): Promise<void>;
}

/** A server of its own, whose power can be cut. */
export interface OwnServer extends RedisNode {
  readonly url: string;
  /** Ends the server, and takes from its append-only file what was written in the last `lostMs`. */
  cutPower(lostMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server. */
export async function startOwnServer(name: string, options: StartOptions): Promise<OwnServer> {
  // A new append-only file would hide from the power cut what the old one had.
  const start = (port?: number) =>
    startPrivateRedis({
      ...options,
      args: ['--auto-aof-rewrite-percentage', '0', ...(options.args ?? [])],
      ...(port === undefined ? {} : { port }),
    });
  let server: PrivateRedis = await start(options.port);
  const power = supplyPower(() => server, options.dataDir);
  return {
    name,
    url: server.url,
    port: server.port,
    get pid() {
      return server.pid;
    },
    kill: () => server.kill(),
    async restart() {
      server = await start(server.port);
    },
    async cutPower(lostMs) {
      await power.cut(lostMs);
    },
    async stop() {
      power.close();
      await server.stop();
    },
  };
}
