import { setTimeout as sleep } from 'node:timers/promises';
import { askRedis, openTcpPipe, type TcpPipe } from '@collectivekv/private-redis';
import type { RedisForm } from './redis-form.js';
import { type OwnServer, startOwnServer } from './redis-node.js';

/** A primary and a replica behind one address, as managed Redis services have them. */
export interface AddressRedis extends RedisForm {
  /**
   * Makes the replica the primary, without losing a write. The old primary lives on as a replica and keeps the open
   * connections. Then the address leads to the new primary.
   */
  failOver(): Promise<void>;
  /** Resolves when the replica has all data. */
  untilReplicated(): Promise<void>;
}

/** Creates the form. It is for one fleet at a time. */
export function addressRedis(): AddressRedis {
  let running: { readonly servers: readonly OwnServer[]; readonly address: TcpPipe } | undefined;
  let primary = 0;

  /** Returns the ports of the primary and of the replica, and the address. */
  function now() {
    const [from, to] = [running?.servers[primary], running?.servers[1 - primary]];
    if (!running || !from || !to) throw new Error('the form is not started');
    return { address: running.address, from: from.port, to: to.port };
  }

  async function untilReplicated(): Promise<void> {
    const { to } = now();
    while (!(await askRedis(to, 'INFO replication')).includes('master_link_status:up')) await sleep(20);
  }

  return {
    about: 'a primary and a replica behind one address',
    async start(dir) {
      const args = ['--repl-diskless-sync-delay', '0'];
      const start = (name: string) =>
        startOwnServer(name, { dir: `${dir}/server`, dataDir: `${dir}/${name}`, fsync: 'always', args });
      const [first, second] = [await start('server-0'), await start('server-1')];
      const address = await openTcpPipe(first.port);
      running = { servers: [first, second], address };
      primary = 0;
      await askRedis(second.port, `REPLICAOF 127.0.0.1 ${first.port}`);
      await untilReplicated();
      return {
        url: `redis://127.0.0.1:${address.port}`,
        port: address.port,
        nodes: [first, second],
        async stop() {
          address.close();
          await Promise.all([first.stop(), second.stop()]);
        },
      };
    },
    async failOver() {
      const { address, from, to } = now();
      await askRedis(from, `FAILOVER TO 127.0.0.1 ${to}`);
      while (!(await askRedis(to, 'ROLE')).includes('master')) await sleep(10);
      await sleep(1_500); // the old primary keeps the connections, and refuses writes
      address.moveTo(to);
      primary = 1 - primary;
    },
    untilReplicated,
  };
}
