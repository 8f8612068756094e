import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';

/** A redis-server of a topology, as faults reach it. */
export interface RedisNode {
  /** For faults' names, such as `redis` or `primary 2`. */
  readonly name: string;
  readonly pid: number;
  /** Ends the server by SIGKILL. */
  kill(): Promise<void>;
  /** Starts a killed server again, on the same port and data. */
  restart(): Promise<void>;
}

/** A Redis that services use. */
export interface RunningRedis {
  /** URL for the services and for the oracle. */
  readonly url: string;
  /** Port behind which pipes can be put between a service and Redis. Undefined: the services connect to `url` itself. */
  readonly port: number | undefined;
  readonly nodes: readonly RedisNode[];
  stop(): Promise<void>;
}

/** A topology of Redis. */
export interface RedisForm {
  /** In a few words, for the report: `one server, append-only file synced with every write`. */
  readonly about: string;
  /** @param dir an existing folder for everything that is written */
  start(dir: string): Promise<RunningRedis>;
}

/** One server. With `always`, a kill loses no accepted write. */
export function singleRedis(fsync: 'always' | 'everysec' | 'no', args: readonly string[] = []): RedisForm {
  return {
    about: `one server, appendfsync ${fsync}`,
    async start(dir) {
      const options = { dir: `${dir}/server`, dataDir: `${dir}/redis`, fsync, args };
      let server: PrivateRedis = await startPrivateRedis(options);
      const port = Number(new URL(server.url).port);
      const node: RedisNode = {
        name: 'redis',
        get pid() {
          return server.pid;
        },
        kill: () => server.kill(),
        async restart() {
          server = await startPrivateRedis({ ...options, port });
        },
      };
      return { url: server.url, port, nodes: [node], stop: () => server.stop() };
    },
  };
}
