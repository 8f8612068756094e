import type { Random } from '../random.js';
import { type Call, type Entry, partitionOf } from './calls.js';
import type { RecordRules, SentEvent, UserJournal } from './user-journal.js';

/** Chooses the calls of backends. */
export interface CallPlan {
  /** Makes a call for some of these users and adds its steps to their journals. */
  newCall(random: Random, users: readonly UserJournal[]): Call;
}

/** Parts of {@link createCallPlan}. */
export interface CallPlanParts {
  /** Share of the calls that forget an interaction. */
  readonly forgets: number;
  readonly rules: RecordRules;
  readonly partitionCount: number;
  /** Begins the idempotency keys. */
  readonly prefix: string;
  /** Adds interactions to a user's journal. */
  readonly eventsOf: (journal: UserJournal, count: number) => Entry[];
}

const KEYED_CALLS = 0.2;
/** An event that is to be forgotten by its event id must still be in the ring when its turn comes. */
const FORGETTABLE_EVENTS = 10;

/** Creates the choice: single interactions, lists of several users, jobs of BullMQ, removals. */
export function createCallPlan({ forgets, rules, partitionCount, prefix, eventsOf }: CallPlanParts): CallPlan {
  function forgettable({ events, steps }: UserJournal): SentEvent[] {
    const forgotten = new Set(steps.filter(({ kind }) => kind === 'forget').map(({ event }) => event));
    const found = rules.forgetsByEventOnly ? events.slice(-FORGETTABLE_EVENTS) : events;
    return found.filter((event) => !forgotten.has(event));
  }

  /** Returns some events of each user, in turns. */
  function interleaved(random: Random, users: readonly UserJournal[], most: number): Entry[] {
    const lists = users.map((journal) => eventsOf(journal, random.whole(1, most)));
    const entries: Entry[] = [];
    while (lists.some((list) => list.length > 0)) {
      const entry = random.pick(lists.filter((list) => list.length > 0)).shift();
      if (entry) entries.push(entry);
    }
    return entries;
  }

  return {
    newCall(random, users) {
      const user = random.pick(users);
      const choice = random.fraction();
      const candidates = choice < forgets ? forgettable(user) : [];
      if (candidates.length > 0) {
        const event = random.pick(candidates);
        user.forget(event);
        return { kind: 'forget', entries: [{ journal: user, event }] };
      }
      const key = random.chance(KEYED_CALLS) ? { idempotencyKey: `key-${prefix}-${random.whole(0, 1e9)}` } : {};
      if (choice < 0.5) return { kind: 'record', entries: eventsOf(user, random.whole(1, 5)), ...key };
      if (choice < 0.6) {
        const partition = partitionOf(user.userId, partitionCount);
        const beside = users.filter((one) => partitionOf(one.userId, partitionCount) === partition);
        return { kind: 'job', entries: interleaved(random, random.shuffle(beside).slice(0, 3), 14) };
      }
      if (choice < 0.65) return { kind: 'record', entries: eventsOf(user, random.whole(15, 40)), ...key };
      const several = random.shuffle(users).slice(0, random.whole(2, users.length));
      return { kind: 'record', entries: interleaved(random, several, random.chance(0.1) ? 20 : 6), ...key };
    },
  };
}
