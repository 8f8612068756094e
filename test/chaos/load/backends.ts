import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type InteractionInput } from '@collectivekv/client';
import type { Random } from '../random.js';
import { createCallPlan } from './call-plan.js';
import { type Call, type Doors, type Entry, mayRepeat, sendCall } from './calls.js';
import { createUserJournal, type RecordRules, type UserJournal } from './user-journal.js';

/** How backends write. */
export interface WriteLoad {
  /** Backends at once. Each sends one call after another, for users of its own. */
  readonly backendCount: number;
  readonly usersPerBackend: number;
  /** New interactions in a second, of all backends together. */
  readonly interactionsPerSecond: number;
  /** Interactions after which a user is replaced by another one: a random number in these bounds. */
  readonly userLife: readonly [least: number, most: number];
  /** Share of the calls that forget an interaction. */
  readonly forgets: number;
  /** Share of calls that are sent again later although they succeeded. */
  readonly repeats: number;
}

/** The default load. */
export const DEFAULT_WRITES: WriteLoad = {
  backendCount: 8,
  usersPerBackend: 12,
  interactionsPerSecond: 700,
  userLife: [20, 200],
  forgets: 0.03,
  repeats: 0.12,
};

/** Backends that write. */
export interface Backends {
  /** Journals of all users, in the order of their first interactions. */
  readonly journals: readonly UserJournal[];
  /** Users that backends write for now. */
  current(): readonly UserJournal[];
  /** True if more may be sent for a user. */
  isOpen(journal: UserJournal): boolean;
  /** Adds a user for calls of the scenario's own. No backend writes for it. */
  addUser(): UserJournal;
  /** Adds interactions to a user's journal, for a call. */
  eventsOf(journal: UserJournal, count: number): Entry[];
  /** Sends a call until it succeeds. Until then, send nothing newer for its users. */
  send(call: Call): Promise<void>;
  /** New interactions that were accepted. */
  readonly acceptedCount: number;
  /** New interactions that were sent, also those whose call is under way. */
  readonly sentCount: number;
  /** Calls that failed at first, and succeeded when they were sent again. */
  readonly uncertainCount: number;
  /** Calls that were sent again although they had succeeded. */
  readonly repeatedCount: number;
  /** Resolves when no call is under way. No new call begins until {@link Backends.resume}. */
  pause(): Promise<void>;
  resume(): void;
  /** Resolves when so many more interactions were accepted. */
  untilAccepted(count: number): Promise<void>;
  /** Ends the backends. Resolves when their calls were accepted. */
  stop(): Promise<void>;
}

/** Parts of {@link startBackends}. */
export interface BackendParts {
  readonly doors: Doors;
  /** Returns what makes the interactions of a new user, by their place among the user's interactions, from 0. */
  readonly interactionsOf: (userId: string, random: Random) => (seq: number) => Required<InteractionInput>;
  readonly rules: RecordRules;
  readonly load: WriteLoad;
  readonly random: Random;
  /** Begins the user ids. */
  readonly prefix: string;
}

const RETRY_MS = 100;
const REMEMBERED_CALLS = 40;
/** Fails a run in which a call never succeeds. */
const MAX_UNCERTAIN_MS = 120_000;

/** Starts the backends. */
export function startBackends({ doors, interactionsOf, rules, load, random, prefix }: BackendParts): Backends {
  const journals: UserJournal[] = [];
  const current = new Map<UserJournal, number>(); // by user, the interactions after which it is replaced
  const own = new Set<UserJournal>(); // of the scenario
  const stopping = new AbortController();
  setMaxListeners(load.backendCount, stopping.signal); // one pause of each backend
  const counts = { accepted: 0, sent: 0, uncertain: 0, repeated: 0 };
  let paused: { readonly resumed: Promise<void>; resume(): void } | undefined;
  const busy = new Set<number>();
  const makers = new Map<UserJournal, ReturnType<typeof interactionsOf>>();

  const { forgets } = load;
  const plan = createCallPlan({ forgets, rules, partitionCount: doors.queues.length, prefix, eventsOf });

  function addUser(): UserJournal {
    // Some ids have the characters that keys escape.
    const mark = journals.length % 10 === 3 ? '{%}ü' : '';
    const journal = createUserJournal(`${prefix}${mark}-${journals.length}`, rules);
    makers.set(journal, interactionsOf(journal.userId, random.fork(journal.userId)));
    journals.push(journal);
    return journal;
  }

  function newUser(): UserJournal {
    const journal = addUser();
    current.set(journal, random.whole(...load.userLife));
    return journal;
  }

  async function backend(index: number): Promise<void> {
    const choices = random.fork(`backend ${index}`);
    const users = Array.from({ length: load.usersPerBackend }, newUser);
    const sent: Call[] = [];
    while (!stopping.signal.aborted) {
      if (paused) await paused.resumed;
      busy.add(index);
      const call = nextCall(choices, users, sent);
      await send(call);
      busy.delete(index);
      if (stopping.signal.aborted) break;
      for (const [i, journal] of users.entries()) {
        if (journal.events.length < (current.get(journal) ?? 0)) continue;
        current.delete(journal);
        users[i] = newUser();
      }
      const share = load.interactionsPerSecond / load.backendCount;
      await sleep((1_000 * call.entries.length) / share, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  /** Chooses a call: a new one, or one that was sent before. */
  function nextCall(own: Random, users: readonly UserJournal[], sent: Call[]): Call {
    if (own.chance(load.repeats)) {
      const again = sent.filter(mayRepeat);
      if (again.length > 0) {
        counts.repeated++;
        return own.pick(again);
      }
    }
    const call = plan.newCall(own, users);
    sent.push(call);
    if (sent.length > REMEMBERED_CALLS) sent.shift();
    return call;
  }

  function eventsOf(journal: UserJournal, count: number): Entry[] {
    const make = makers.get(journal);
    counts.sent += make ? count : 0;
    return Array.from({ length: make ? count : 0 }, () => ({
      journal,
      event: journal.record(make?.(journal.events.length) as never),
    }));
  }

  /** Sends a call until it succeeds. Until then nothing newer is sent for its users. */
  async function send(call: Call): Promise<void> {
    const startedMs = performance.now();
    for (let attempt = 1; ; attempt++) {
      try {
        await sendCall(doors, call);
        break;
      } catch (error) {
        const refused = error instanceof CkvError && error.reason === 'invalid_request';
        if (refused || performance.now() - startedMs > MAX_UNCERTAIN_MS) throw error;
        if (attempt === 1) counts.uncertain++;
        await sleep(RETRY_MS);
      }
    }
    for (const journal of new Set(call.entries.map((entry) => entry.journal))) {
      counts.accepted += journal.steps.slice(journal.acceptedCount).filter(({ kind }) => kind === 'record').length;
      journal.accept();
    }
  }

  const running = Promise.all(Array.from({ length: load.backendCount }, (_, i) => backend(i)));
  running.catch(() => undefined); // thrown where it is awaited

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await Promise.race([running, sleep(5)]);
  }

  return {
    journals,
    current: () => [...current.keys()],
    isOpen: (journal) => current.has(journal) || own.has(journal),
    addUser() {
      const journal = addUser();
      own.add(journal);
      return journal;
    },
    eventsOf,
    send,
    get acceptedCount() {
      return counts.accepted;
    },
    get sentCount() {
      return counts.sent;
    },
    get uncertainCount() {
      return counts.uncertain;
    },
    get repeatedCount() {
      return counts.repeated;
    },
    async pause() {
      let resume: () => void = () => undefined;
      const resumed = new Promise<void>((resolve) => {
        resume = resolve;
      });
      paused = { resumed, resume };
      await until(() => busy.size === 0);
    },
    resume() {
      paused?.resume();
      paused = undefined;
    },
    async untilAccepted(count) {
      const wanted = counts.accepted + count;
      await until(() => counts.accepted >= wanted);
    },
    async stop() {
      stopping.abort();
      paused?.resume();
      await running;
    },
  };
}
