// The backend and what it sent: the truth that records are compared with.
import { type Interaction, partitionOf, RECENT_EVENT_RING } from '@collectivekv/domain';
import { recordJobData } from '@collectivekv/update-queue';
import { itemOf, MAX_EVENTS } from './model-bundles.js';
import { nextUuid, runAs, timersPromises } from './virtual-time.js';

/** Partitions of the model's queue. */
export const PARTITION_COUNT = 2;

/** The model's users. The order of the last two is not checked. */
export const USERS = {
  a: userIn(0, 'a'),
  b: userIn(0, 'b'),
  c: userIn(1, 'c'),
  /** Its record is of another encoding at first, so its appends are refused. */
  poison: userIn(0, 'poison'),
  /** Its jobs are put into the other partition. */
  astray: userIn(1, 'astray'),
} as const;
/** Users whose records must be prefixes of what was sent, at any time. */
export const ORDERED: readonly string[] = [USERS.a, USERS.b, USERS.c];
const FIRST_EVENT_MS = 1_700_000_000_000;
/** Events of the users whose jobs may come again without a bound. A record recognises as many. */
const FEW = RECENT_EVENT_RING;

/** The backend's calls. It makes one at a time, and repeats a call until it is accepted. */
export interface Feed {
  /** Records the next events of these users. Ignored if a user has as many as a run may send. */
  record(counts: readonly (readonly [userId: string, count: number])[], withKey: boolean): void;
  /** Forgets one of the newest events of a user. */
  forget(userId: string, back: number): void;
  /** Deletes a user. Later events begin a new record. */
  deleteUser(userId: string): void;
  /** Puts a job into another partition than its user's. */
  goAstray(): void;
  /** Puts a job into a queue that is not JSON. */
  sendUnreadable(): void;
  /** True if every call was accepted. */
  isDone(): boolean;
  /** Number of events sent of a user. They are numbered from 0, in order. */
  sentCount(userId: string): number;
  /** The numbers of sent events at which the user was deleted, from 0: a record begins at one of them. */
  beginnings(userId: string): readonly number[];
  /** Events that were forgotten. */
  forgotten(userId: string): ReadonlySet<number>;
  unreadableCount(): number;
}

interface Call {
  send(): Promise<unknown>;
}

/** The doors to the queue. */
export interface Doors {
  record(interactions: readonly Interaction[], idempotencyKey: string): Promise<unknown>;
  forget(interaction: Interaction, receiptId: string): Promise<unknown>;
  deleteUser(userId: string, receiptId: string): Promise<unknown>;
  /** Adds a job to a queue as any BullMQ client does. */
  addJob(partition: number, id: string, payload: object): Promise<void>;
  /** Adds a job whose payload is not JSON. */
  addUnreadable(partition: number, id: string): Promise<void>;
}

/** Starts the backend, a process of this name. Call `n` has the context's caller `call n`. */
export function startFeed(owner: string, doors: Doors): Feed {
  const calls: Call[] = [];
  const sent = new Map<string, number>();
  const beginnings = new Map<string, number[]>();
  const forgotten = new Map<string, Set<number>>();
  let accepted = 0;
  let sending = false;
  let unreadable = 0;

  async function sendAll(): Promise<void> {
    sending = true;
    for (; accepted < calls.length; accepted++) {
      const call = calls[accepted] as Call;
      const caller = `call ${accepted}`;
      await runAs({ owner, caller }, () => untilAccepted(call));
    }
    sending = false;
  }

  function push(call: Call): void {
    calls.push(call);
    if (!sending) void runAs({ owner }, sendAll);
  }

  const count = (userId: string) => sent.get(userId) ?? 0;
  const beginningsOf = (userId: string): readonly number[] => beginnings.get(userId) ?? [0];

  function nextEvents(userId: string, number: number): Interaction[] {
    const from = count(userId);
    sent.set(userId, from + number);
    return Array.from({ length: number }, (_, i) => interactionOf(userId, from + i));
  }

  const fits = (userId: string, number: number) =>
    count(userId) + number <= (ORDERED.includes(userId) ? MAX_EVENTS : FEW);

  return {
    record(counts, withKey) {
      if (!counts.every(([userId, number]) => fits(userId, number))) return;
      const interactions = interleaved(counts.map(([userId, number]) => nextEvents(userId, number)));
      const key = withKey ? `key ${calls.length}` : '';
      push({ send: () => doors.record(interactions, key) });
    },
    forget(userId, back) {
      const event = count(userId) - 1 - back;
      if (event < (beginningsOf(userId).at(-1) ?? 0)) return;
      const own = forgotten.get(userId) ?? new Set();
      forgotten.set(userId, own.add(event));
      const interaction = interactionOf(userId, event);
      const receiptId = nextUuid();
      push({ send: () => doors.forget(interaction, receiptId) });
    },
    deleteUser(userId) {
      beginnings.set(userId, [...beginningsOf(userId), count(userId)]);
      const receiptId = nextUuid();
      push({ send: () => doors.deleteUser(userId, receiptId) });
    },
    goAstray() {
      if (!fits(USERS.astray, 1)) return;
      const interactions = nextEvents(USERS.astray, 1);
      const wrong = 1 - partitionOf(USERS.astray, PARTITION_COUNT);
      const id = `astray-${count(USERS.astray)}`;
      push({ send: () => doors.addJob(wrong, id, recordJobData(interactions)) });
    },
    sendUnreadable() {
      const id = `unreadable-${++unreadable}`;
      const partition = unreadable % PARTITION_COUNT;
      push({ send: () => doors.addUnreadable(partition, id) });
    },
    isDone: () => accepted === calls.length,
    sentCount: count,
    beginnings: beginningsOf,
    forgotten: (userId) => forgotten.get(userId) ?? new Set(),
    unreadableCount: () => unreadable,
  };
}

async function untilAccepted(call: Call): Promise<void> {
  for (;;) {
    try {
      await call.send();
      return;
    } catch {
      await timersPromises.setTimeout(100);
    }
  }
}

function interactionOf(userId: string, event: number): Interaction {
  const itemId = itemOf(event);
  return {
    eventId: `${userId} ${event}`,
    userId,
    itemId,
    timestampMs: FIRST_EVENT_MS + event,
    action: '',
    features: {},
  };
}

/** Returns the interactions of all users in turns, each user's in order. */
function interleaved(lists: readonly Interaction[][]): Interaction[] {
  const longest = Math.max(...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list[i] ?? [])).flat();
}

function userIn(partition: number, name: string): string {
  for (let i = 0; ; i++) if (partitionOf(`${name}${i}`, PARTITION_COUNT) === partition) return `${name}${i}`;
}
