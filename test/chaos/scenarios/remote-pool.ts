import { HOP_FAULTS, type HopFault } from '../faults/hop-faults.js';
import { killed, stopped } from '../faults/process-faults.js';
import { DEFAULT_FLEET } from '../fleet/fleet.js';
import type { Scenario } from '../scenario.js';

const REMOTE = { CKV_POOL_MODE: 'remote' };

/** No ranking replica has the pool: each answer needs the pool service. */
export const remotePool: Scenario = {
  name: 'remote-pool',
  about: 'All ranking replicas gather pool rows from the one pool, which dies, stalls, and loses its connections.',
  fleet: {
    replicas: { ...DEFAULT_FLEET.replicas, ranking: [REMOTE, { ...REMOTE, CKV_RECORD_READS: 'user-cache' }] },
  },
  async run({ fleet, random, backends, fault }) {
    const [pool] = fleet.services.pool;
    if (!pool) throw new Error('there is no pool');
    const pipes = fleet.hops.of('ranking-pool').map(({ pipe }) => pipe);
    const strikes: [string, () => Promise<unknown>][] = [
      ['kill -9 of pool', () => killed(pool, 1_000)],
      ['SIGTERM of pool', () => killed(pool, 0, 'SIGTERM')],
      ['SIGSTOP of pool for 7.5 s', () => stopped(pool, 7_500)],
      ...Object.entries(HOP_FAULTS).map(([name, strike]): [string, () => Promise<unknown>] => [
        `${name} of ranking-pool`,
        () => Promise.all(pipes.map((pipe) => (strike as HopFault)(pipe, random.pick([1_500, 7_500])))),
      ]),
    ];
    for (const [name, strike] of random.shuffle(strikes)) {
      await fault(name, async () => {
        await backends.untilAccepted(150);
        await strike();
      });
    }
  },
};
