import { setTimeout as sleep } from 'node:timers/promises';
import { HOP_FAULTS } from '../faults/hop-faults.js';
import { killed, stopped } from '../faults/process-faults.js';
import type { Scenario } from '../scenario.js';

/** Three updaters that lose their leases, and get them back. */
export const leases: Scenario = {
  name: 'leases',
  about: 'Three updaters lose their leases: they stall, Redis stalls or is away, a connection stalls.',
  fleet: {
    replicas: { pool: [{}], 'user-cache': [{}, {}], ranking: [{}, {}], updater: [{}, {}, {}] },
  },
  // The updaters are never idle: a stall finds them between a look at the queue and a take.
  load: { backendCount: 16, interactionsPerSecond: 2_500 },
  async run({ fleet, random, backends, fault }) {
    const { updater } = fleet.services;
    const [redis] = fleet.redis.nodes;
    if (!redis) throw new Error('there is no Redis');
    const pipeOf = () => random.pick(fleet.hops.of('updater-redis')).pipe;
    const strikes: [string, () => Promise<void>][] = [
      ['SIGSTOP of an updater for 8 s', () => stopped(random.pick(updater), 8_000)],
      ['SIGSTOP of an updater for 5 s, the length of a lease', () => stopped(random.pick(updater), 5_000)],
      [
        'SIGSTOP of two updaters in turn',
        async () => {
          const [one, other] = random.shuffle(updater);
          if (!one || !other) return;
          await Promise.all([stopped(one, 7_000), sleep(3_000).then(() => stopped(other, 7_000))]);
        },
      ],
      ['SIGSTOP of Redis for 10 s', () => stopped(redis, 10_000)],
      ['Redis away for 7 s', () => killed(redis, 7_000)],
      ['updater-redis stalled for 7.5 s', () => HOP_FAULTS.stall(pipeOf(), 7_500)],
      ['updater-redis delivers late', () => HOP_FAULTS.late(pipeOf(), 7_500)],
      ['kill -9 of an updater while another stalls', () => killedWhileStalled()],
      ['SIGTERM of an updater while Redis stalls', () => endedWhileRedisStalls()],
    ];
    for (const [name, strike] of random.shuffle([...strikes, ...strikes])) {
      await fault(name, async () => {
        await backends.untilAccepted(300);
        await strike();
      });
    }

    async function killedWhileStalled(): Promise<void> {
      const [one, other] = random.shuffle(updater);
      if (one && other) await Promise.all([stopped(one, 6_500), sleep(1_000).then(() => killed(other))]);
    }

    async function endedWhileRedisStalls(): Promise<void> {
      if (redis)
        await Promise.all([stopped(redis, 6_000), sleep(500).then(() => killed(random.pick(updater), 0, 'SIGTERM'))]);
    }
  },
};
