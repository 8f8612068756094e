import { startSentinelDeployment } from '@collectivekv/private-redis';
import type { RedisForm } from './redis-form.js';

/** A primary and its replica, which three sentinels watch. The sentinels replace a primary that is silent for 1 s. */
export interface SentinelRedis extends RedisForm {
  /** Returns the index of the primary among the nodes, alone in a list. */
  primaries(): Promise<number[]>;
  /** Resolves when the replica has all data and a failover is possible. */
  untilReplicated(): Promise<void>;
}

/** Creates the form. It is for one fleet at a time. */
export function sentinelRedis(args: readonly string[] = []): SentinelRedis {
  let running: Awaited<ReturnType<typeof startSentinelDeployment>> | undefined;
  const deployment = () => {
    if (!running) throw new Error('the deployment is not started');
    return running;
  };
  return {
    about: 'a primary, a replica and three sentinels',
    async start(dir) {
      const started = await startSentinelDeployment({ dir: `${dir}/server`, dataDir: dir, fsync: 'always', args });
      running = started;
      return {
        url: started.url,
        port: undefined,
        nodes: started.servers.map((_, i) => ({
          name: `server ${i}`,
          port: started.servers[i]?.port ?? 0,
          get pid() {
            return started.servers[i]?.pid ?? 0;
          },
          kill: async () => started.servers[i]?.kill(),
          restart: () => started.restartServer(i),
        })),
        stop: () => started.stop(),
      };
    },
    async primaries() {
      const port = await deployment().primaryPort();
      return deployment().servers.flatMap((server, i) => (server.port === port ? [i] : []));
    },
    untilReplicated: () => deployment().untilReplicated(),
  };
}
