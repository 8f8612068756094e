import { killed, stopped } from '../faults/process-faults.js';
import { type Entry, partitionOf } from '../load/calls.js';
import type { UserJournal } from '../load/user-journal.js';
import { PARTITIONS } from '../oracle/queue-state.js';
import type { Scenario } from '../scenario.js';

/** Jobs that cannot succeed, jobs of other partitions, and large calls that are repeated. */
export const jobs: Scenario = {
  name: 'jobs',
  about:
    'Jobs that cannot succeed, jobs in the wrong partition, and calls of over 1,000 interactions that are repeated.',
  quick: true,
  async run({ fleet, random, quick, backends, doors, untilApplied, fault }) {
    const { updater } = fleet.services;
    const rounds = quick ? 1 : 3;
    const kill = () => killed(random.pick(updater));

    for (let round = 0; round < rounds; round++) {
      const poison = random.whole(10, 40);
      await fault(
        'jobs that cannot succeed, and kill -9 of updater',
        async () => {
          await backends.untilAccepted(200);
          const adding = Array.from({ length: poison }, (_, i) => addPoison(i));
          await Promise.all([kill(), ...adding]);
        },
        { asideJobs: poison },
      );

      await fault('jobs in the wrong partition, and kill -9 of updater', async () => {
        const users = Array.from({ length: 20 }, () => backends.addUser());
        for (let i = 0; i < 3; i++) await Promise.all([i === 1 ? kill() : undefined, ...users.map(misdirect)]);
        await backends.untilAccepted(200);
      });

      await fault('calls of 400 interactions of one user, and kill -9 of updater', async () => {
        const users = Array.from({ length: 20 }, () => backends.addUser());
        const calls = users.map((user) => backends.send({ kind: 'record', entries: backends.eventsOf(user, 400) }));
        await Promise.all(calls.slice(0, 10));
        await kill();
        await Promise.all(calls);
      });

      if (quick) return;
      await fault('jobs in the wrong partition, and SIGSTOP of updater beyond the lease', async () => {
        const users = Array.from({ length: 20 }, () => backends.addUser());
        await Promise.all([stopped(random.pick(updater), 8_000), ...users.map(misdirect)]);
      });

      await fault('a call of 1,018 interactions, repeated, and kill -9 of updater', async () => {
        const users = Array.from({ length: 30 }, () => backends.addUser());
        const entries = interleaved(users, 1_018);
        await Promise.all([backends.send({ kind: 'record', entries }), kill()]);
        await backends.untilAccepted(300);
        await backends.send({ kind: 'record', entries });
      });
    }

    async function addPoison(i: number): Promise<void> {
      const queue = doors.queues[i % PARTITIONS];
      const bad = [
        () => queue?.add('record', { version: 1, interactions: [{ userId: 'poison', itemId: 'x' }] }),
        () => queue?.add('record', { version: 2, interactions: [] }),
        () => queue?.add('nothing', { version: 1 }),
        () => queue?.add('record', 'no object'),
      ];
      await bad[i % bad.length]?.();
    }

    /** Adds a job to a partition that is not the user's own. Nothing else is sent for the user before it is applied. */
    async function misdirect(journal: UserJournal): Promise<void> {
      const entries = backends.eventsOf(journal, random.whole(1, 14));
      const wrong = (partitionOf(journal.userId, PARTITIONS) + random.whole(1, PARTITIONS - 1)) % PARTITIONS;
      await doors.queues[wrong]?.add('record', { version: 1, interactions: entries.map(({ event }) => event.input) });
      journal.accept();
      await untilApplied(journal);
    }

    function interleaved(users: readonly UserJournal[], count: number): Entry[] {
      return Array.from({ length: count }, () => backends.eventsOf(random.pick(users), 1)).flat();
    }
  },
};
