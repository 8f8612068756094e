import { killed, stopped } from '../faults/process-faults.js';
import type { Entry } from '../load/calls.js';
import type { UserJournal } from '../load/user-journal.js';
import type { Scenario } from '../scenario.js';

const USERS = 40;

/** Interactions that are forgotten while they are recorded. */
export const forgets: Scenario = {
  name: 'forgets',
  about: 'Forgetting races with recording, also with repeated calls, while processes die and stall.',
  async run({ fleet, random, backends, fault }) {
    const { updater, 'user-cache': userCache } = fleet.services;
    const strikes: [string, () => Promise<void>][] = [
      ['no fault', async () => undefined],
      ['kill -9 of updater', () => killed(random.pick(updater))],
      ['kill -9 of user-cache', () => killed(random.pick(userCache))],
      ['SIGSTOP of user-cache for 6 s', () => stopped(random.pick(userCache), 6_000)],
      ['SIGSTOP of updater for 7 s', () => stopped(random.pick(updater), 7_000)],
    ];
    for (const [name, strike] of random.shuffle([...strikes, ...strikes])) {
      await fault(`forgets that race, and ${name}`, async () => {
        const users = Array.from({ length: USERS }, () => backends.addUser());
        await Promise.all([
          strike(),
          ...users.map((journal, i) => (i % 2 === 0 ? raceFirst(journal) : raceAgain(journal))),
        ]);
      });
    }

    /** Records and forgets an interaction at once: the record may hold it in the end, or not. */
    async function raceFirst(journal: UserJournal): Promise<void> {
      await backends.send({ kind: 'record', entries: backends.eventsOf(journal, random.whole(1, 5)) });
      const entries = backends.eventsOf(journal, 1);
      for (const { event } of entries) journal.race(event);
      await both(entries);
      await backends.send({ kind: 'record', entries: backends.eventsOf(journal, random.whole(1, 5)) });
    }

    /** Forgets an interaction while it is recorded once more: the record must not hold it. */
    async function raceAgain(journal: UserJournal): Promise<void> {
      const entries = backends.eventsOf(journal, random.whole(2, 8));
      await backends.send({ kind: 'record', entries });
      const one = random.pick(entries);
      journal.forget(one.event);
      await both([one]);
      await backends.send({ kind: 'record', entries: backends.eventsOf(journal, random.whole(1, 5)) });
    }

    async function both(entries: readonly Entry[]): Promise<void> {
      await Promise.all([backends.send({ kind: 'record', entries }), backends.send({ kind: 'forget', entries })]);
    }
  },
};
