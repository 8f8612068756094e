import { setTimeout as sleep } from 'node:timers/promises';
import { askRedis } from '@collectivekv/private-redis';
import { killed, stopped } from '../faults/process-faults.js';
import { singleRedis } from '../fleet/redis-form.js';
import type { Arena, Scenario } from '../scenario.js';

const redis = singleRedis('always');
const REFUSED_WITHIN_MS = 20_000;

/** Sends commands to Redis, each after the answer to the one before. */
async function ask(...commands: string[]): Promise<string> {
  let answer = '';
  for (const command of commands) answer = await askRedis(redis.servers().queue.port, command);
  return answer;
}

/** Waits until no interaction has been accepted for a while. */
async function untilRefused({ backends }: Arena): Promise<void> {
  const deadlineMs = performance.now() + REFUSED_WITHIN_MS;
  for (let before = -1; before !== backends.acceptedCount; await sleep(1_500)) {
    if (performance.now() > deadlineMs) throw new Error('interactions are accepted all the same');
    before = backends.acceptedCount;
  }
}

/** Faults of a Redis that comes back with all its data. */
function faultsOf(arena: Arena): { readonly name: string; strike(): Promise<void> }[] {
  const { fleet, backends } = arena;
  const [node] = fleet.redis.nodes;
  if (!node) throw new Error('no Redis');
  return [
    { name: 'Redis down for 7 s', strike: () => killed(node, 7_000) },
    { name: 'SIGSTOP of Redis for 10 s', strike: () => stopped(node, 10_000) },
    {
      name: 'CLIENT KILL of all connections, ten times',
      async strike() {
        for (let i = 0; i < 10; i++) {
          await ask('CLIENT KILL TYPE normal');
          await backends.untilAccepted(20);
        }
      },
    },
    {
      name: 'SCRIPT FLUSH, ten times',
      async strike() {
        for (let i = 0; i < 10; i++) {
          await ask('SCRIPT FLUSH SYNC');
          await backends.untilAccepted(20);
        }
      },
    },
    {
      name: 'Redis at its memory limit, which is raised again',
      async strike() {
        const used = /used_memory:(\d+)/.exec(await ask('INFO memory'))?.[1] ?? '';
        await ask(`CONFIG SET maxmemory ${used}`);
        await untilRefused(arena);
        await sleep(2_000);
        await ask('CONFIG SET maxmemory 0');
      },
    },
    {
      name: 'a maxmemory-policy that evicts, which is corrected',
      async strike() {
        await ask('CONFIG SET maxmemory-policy allkeys-lru');
        await untilRefused(arena);
        await ask('CONFIG SET maxmemory-policy noeviction');
      },
    },
    {
      name: 'CLIENT PAUSE of writes for 4 s',
      async strike() {
        await ask('CLIENT PAUSE 4000 WRITE');
        await sleep(4_000);
      },
    },
  ];
}

/** Redis is away, hangs, refuses writes, and forgets scripts. */
export const redisTrouble: Scenario = {
  name: 'redis-trouble',
  about: 'Redis is away or hangs, closes its connections, forgets its scripts, and is at its memory limit.',
  fleet: { redis },
  async run(arena) {
    for (const { name, strike } of arena.random.shuffle(faultsOf(arena))) {
      await arena.fault(name, async () => {
        await arena.backends.untilAccepted(150);
        await strike();
      });
    }
  },
};
