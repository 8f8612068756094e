import { askRedis, startPrivateCluster } from '@collectivekv/private-redis';
import type { RedisForm } from './redis-form.js';

/** A cluster of three primaries, each with a replica. A replica takes over 2 to 4 s after its primary went silent. */
export interface ClusterRedis extends RedisForm {
  /** Returns the indices of the primaries among the nodes. */
  primaries(): Promise<number[]>;
  /** Resolves when all slots are served and every replica follows its primary. */
  untilReplicated(): Promise<void>;
}

/** Creates the form. It is for one fleet at a time. */
export function clusterRedis(args: readonly string[] = []): ClusterRedis {
  let running: Awaited<ReturnType<typeof startPrivateCluster>> | undefined;
  const cluster = () => {
    if (!running) throw new Error('the cluster is not started');
    return running;
  };
  return {
    about: 'a cluster of three primaries and three replicas',
    async start(dir) {
      const options = { dir: `${dir}/server`, dataDir: dir, fsync: 'always', nodeCount: 3, replicas: true } as const;
      const started = await startPrivateCluster({ ...options, args });
      running = started;
      return {
        url: started.url,
        port: undefined,
        nodes: started.nodes.map((_, i) => ({
          name: `node ${i}`,
          port: started.nodes[i]?.port ?? 0,
          get pid() {
            return started.nodes[i]?.pid ?? 0;
          },
          kill: async () => started.nodes[i]?.kill(),
          restart: () => started.restartNode(i),
        })),
        stop: () => started.stop(),
      };
    },
    async primaries() {
      const roles = await Promise.all(cluster().nodes.map(({ port }) => askRedis(port, 'ROLE').catch(() => '')));
      return roles.flatMap((role, i) => (role.includes('master\r\n:') ? [i] : []));
    },
    untilReplicated: () => cluster().untilReplicated(),
  };
}
