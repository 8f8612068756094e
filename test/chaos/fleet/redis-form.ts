import { type OwnServer, type RedisNode, startOwnServer } from './redis-node.js';

/** A Redis that services use. */
export interface RunningRedis {
  /** URL for the services and for the oracle. */
  readonly url: string;
  /** URL of the queue's Redis. Default: `url`; records and queue share a Redis. */
  readonly queueUrl?: string;
  /**
   * Port behind which pipes can be put between a service and Redis. Undefined: the services connect to `url` itself.
   */
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

/** How writes reach the disk. */
export type Fsync = 'always' | 'everysec' | 'no';

/** One or two servers of their own. */
export interface OwnRedis extends RedisForm {
  /** The servers of the fleet that runs. */
  servers(): { readonly records: OwnServer; readonly queue: OwnServer };
}

/** One server. With `always`, a kill loses no accepted write. The form is for one fleet at a time. */
export function singleRedis(fsync: Fsync, args: readonly string[] = []): OwnRedis {
  let running: OwnServer | undefined;
  return {
    about: `one server, appendfsync ${fsync}`,
    async start(dir) {
      const server = await startOwnServer('redis', { dir: `${dir}/server`, dataDir: `${dir}/redis`, fsync, args });
      running = server;
      return { url: server.url, port: server.port, nodes: [server], stop: () => server.stop() };
    },
    servers: () => ({ records: started(running), queue: started(running) }),
  };
}

/** A server for the records and another one for the queue. The form is for one fleet at a time. */
export function twoRedis(records: Fsync, queue: Fsync): OwnRedis {
  let running: { readonly records: OwnServer; readonly queue: OwnServer } | undefined;
  return {
    about: `two servers, appendfsync ${records} for the records and ${queue} for the queue`,
    async start(dir) {
      const options = { dir: `${dir}/server` };
      const servers = {
        records: await startOwnServer('records', { ...options, dataDir: `${dir}/records`, fsync: records }),
        queue: await startOwnServer('queue', { ...options, dataDir: `${dir}/queue`, fsync: queue }),
      };
      running = servers;
      const nodes = [servers.records, servers.queue];
      return {
        url: servers.records.url,
        queueUrl: servers.queue.url,
        port: servers.records.port,
        nodes,
        async stop() {
          await Promise.all(nodes.map((node) => node.stop()));
        },
      };
    },
    servers: () => started(running),
  };
}

function started<T>(running: T | undefined): T {
  if (!running) throw new Error('the form is not started');
  return running;
}
