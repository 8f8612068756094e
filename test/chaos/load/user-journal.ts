import { createHash } from 'node:crypto';
import type { InteractionInput } from '@collectivekv/client';

/** An interaction that a backend sent, or is about to send. */
export interface SentEvent {
  /** Place among the user's interactions, from 0. */
  readonly seq: number;
  readonly input: Required<InteractionInput>;
  /** The event hash of docs/wire-format.md, hexadecimal. */
  readonly hash: string;
}

/** One change of a record, in the order in which the user's backend sent it. */
export interface Step {
  readonly kind: 'record' | 'forget';
  readonly event: SentEvent;
}

/** What a record must hold after some steps. */
export interface ExpectedRecord {
  /** Oldest first. */
  readonly events: readonly SentEvent[];
  /** Oldest first. */
  readonly ring: readonly { readonly hash: string; readonly tombstone: boolean }[];
  readonly lifetimeCount: number;
  readonly newestMs: number;
}

/** How records of a bundle change. */
export interface RecordRules {
  readonly maxPositions: number;
  /** True: an event can be forgotten only while the ring holds it. */
  readonly forgetsByEventOnly: boolean;
}

/** Everything that was sent for one user, in order, and what is known of its effect. */
export interface UserJournal {
  readonly userId: string;
  readonly steps: readonly Step[];
  readonly events: readonly SentEvent[];
  /** Steps whose call succeeded. The steps behind them are uncertain: they may be applied, or not. */
  readonly acceptedCount: number;
  /** Events whose forgetting raced with their recording: the record may hold them, or not. */
  readonly undecided: ReadonlySet<SentEvent>;
  /** Adds a step that records this interaction. */
  record(input: Required<InteractionInput>): SentEvent;
  /** Adds a step that forgets an event. */
  forget(event: SentEvent): void;
  /** Notes that an event is forgotten and recorded again at once, in any order. */
  race(event: SentEvent): void;
  /** Notes that the calls of all steps so far have succeeded. */
  accept(): void;
  /** Steps since an event was recorded, its own included: at least as many entries of the ring as were added since. */
  stepsSince(event: SentEvent): number;
  /** Returns the record after the first steps. */
  after(stepCount: number): ExpectedRecord;
  /** Notes that the first steps were seen applied. */
  seenApplied(stepCount: number): void;
  /** Notes that the record was seen with so many interactions ever applied. */
  seenLifetime(lifetimeCount: number): void;
  /** Returns how many steps were seen applied at this time, by `performance.now()`. */
  appliedAt(atMs: number): number;
  /** Forgets what was seen applied: the store may have lost it. */
  unsee(): void;
}

const RING = 14;
/** Entries of a ring with tombstones of older events that were forgotten since the last append. */
const LONGEST_RING = 64;

/** Returns the event hash of docs/wire-format.md, hexadecimal. */
export function eventHashOf(eventId: string): string {
  const hash = createHash('sha256').update(eventId).digest().subarray(0, 6);
  hash[5] = (hash[5] ?? 0) & 0x7f;
  return hash.toString('hex');
}

/** Creates the journal of a user without interactions. */
export function createUserJournal(userId: string, rules: RecordRules): UserJournal {
  const steps: Step[] = [];
  const events: SentEvent[] = [];
  const stepOf = new Map<SentEvent, number>();
  const undecided = new Set<SentEvent>();
  let seen: { readonly atMs: number; readonly stepCount: number }[] = [];
  let acceptedCount = 0;

  function seenApplied(stepCount: number): void {
    if (stepCount > (seen.at(-1)?.stepCount ?? 0)) seen.push({ atMs: performance.now(), stepCount });
  }

  return {
    userId,
    steps,
    events,
    undecided,
    get acceptedCount() {
      return acceptedCount;
    },
    record(input) {
      const event = { seq: events.length, input, hash: eventHashOf(input.eventId) };
      events.push(event);
      stepOf.set(event, steps.length);
      steps.push({ kind: 'record', event });
      return event;
    },
    forget(event) {
      steps.push({ kind: 'forget', event });
    },
    race(event) {
      undecided.add(event);
    },
    accept() {
      acceptedCount = steps.length;
    },
    stepsSince: (event) => steps.length - (stepOf.get(event) ?? 0),
    after(stepCount) {
      let rows: SentEvent[] = [];
      let ring: { hash: string; tombstone: boolean }[] = [];
      let [lifetimeCount, newestMs] = [0, 0];
      for (const { kind, event } of steps.slice(0, stepCount)) {
        if (kind === 'record') {
          rows.push(event);
          ring.push({ hash: event.hash, tombstone: false });
          if (ring.length > RING) ring = ring.slice(-RING);
          if (rows.length > rules.maxPositions) rows.shift();
          lifetimeCount++;
          newestMs = Math.max(newestMs, event.input.timestampMs);
          continue;
        }
        const entry = ring.find(({ hash }) => hash === event.hash);
        if (entry) entry.tombstone = true;
        else if (rules.forgetsByEventOnly || !rows.includes(event)) continue;
        else ring = [...ring, { hash: event.hash, tombstone: true }].slice(-LONGEST_RING); // until the next append
        rows = rows.filter((row) => row !== event);
      }
      return { events: rows, ring, lifetimeCount, newestMs };
    },
    seenApplied,
    seenLifetime(lifetimeCount) {
      let recorded = 0;
      let stepCount = 0;
      for (const { kind } of steps) {
        if (kind === 'record' && recorded === lifetimeCount) break;
        if (kind === 'record') recorded++;
        else if (recorded === lifetimeCount) break;
        stepCount++;
      }
      seenApplied(stepCount);
    },
    appliedAt(atMs) {
      return seen.findLast((one) => one.atMs <= atMs)?.stepCount ?? 0;
    },
    unsee() {
      seen = [];
    },
  };
}
