import type { LoadedBundle } from '@collectivekv/bundles';
import { decodeRecord } from '@collectivekv/domain';
import type { RecordReader } from '@collectivekv/user-store';
import { type Feed, ORDERED, USERS } from './feed.js';
import { eventsOfRows } from './model-bundles.js';

/** A promise that was broken. */
export class Violation extends Error {}

/** Compares the records that the bundles read with what the backend sent. Throws a {@link Violation}. */
export interface RecordCheck {
  /** Each ordered user's record has the first events of those sent since a deletion, once and in order. */
  now(): Promise<void>;
  /** Each user's record has all events since its last deletion, once; those of the ordered users in order. */
  atTheEnd(users: readonly string[]): Promise<void>;
}

/** Creates the check. */
export function createRecordCheck(reader: RecordReader, bundles: readonly LoadedBundle[], feed: Feed): RecordCheck {
  async function eventsOf(bundle: LoadedBundle, userIds: readonly string[]): Promise<number[][]> {
    const { encodingId, layout } = bundle.model;
    const records = await reader.getRecords(encodingId, userIds);
    return records.map((bytes) =>
      bytes ? eventsOfRows(bundle, decodeRecord(bytes, { encodingId, strideBytes: layout.strideBytes }).rows) : [],
    );
  }

  /** Events sent since the user was deleted at `beginning`, without the forgotten ones. */
  function wantedFrom(userId: string, beginning: number): number[] {
    const all = Array.from({ length: feed.sentCount(userId) }, (_, event) => event);
    return all.filter((event) => event >= beginning && !feed.forgotten(userId).has(event));
  }

  return {
    async now() {
      for (const bundle of bundles) {
        const lists = await eventsOf(bundle, ORDERED);
        for (const [i, userId] of ORDERED.entries()) {
          const events = lists[i] ?? [];
          const kept = events.filter((event) => !feed.forgotten(userId).has(event));
          const inOrder = events.every((event, at) => at === 0 || event > (events[at - 1] ?? -1));
          const beginnings = feed.beginnings(userId);
          if (inOrder && beginnings.some((from) => same(kept, wantedFrom(userId, from).slice(0, kept.length))))
            continue;
          throw new Violation(`the record of ${userId} has the events ${events}, not the first ones in order`);
        }
      }
    },
    async atTheEnd(users) {
      for (const bundle of bundles) {
        const lists = await eventsOf(bundle, users);
        for (const [i, userId] of users.entries()) {
          const events = lists[i] ?? [];
          const given = ORDERED.includes(userId) ? events : [...events].sort((a, b) => a - b);
          const wanted = wantedFrom(userId, feed.beginnings(userId).at(-1) ?? 0);
          if (same(given, wanted)) continue;
          throw new Violation(`at the end the record of ${userId} has the events ${events}, not ${wanted}`);
        }
      }
    },
  };
}

/** Every user but the one whose appends are refused. */
export const SERVED: readonly string[] = Object.values(USERS).filter((userId) => userId !== USERS.poison);

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
