import { type Interaction, parseInteraction } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';
import { OpeningOver } from './job-scripts.js';
import type { PartitionTerm } from './lease-table.js';
import { readScript } from './lua-script.js';
import { eventLogKey, leaseKeys, warmingKeys } from './queue-names.js';
import type { ErasureSubject } from './strip-job.js';

/** How much a partition's event log keeps. */
export interface EventLogBounds {
  /** How long an interaction stays, ms by Redis's own clock; 0 keeps none that no encoding needs. */
  readonly ageMs: number;
  /** Most interactions of a partition. Beyond them the oldest are dropped. */
  readonly maxEvents: number;
}

/** Bounds of a log that is kept only while an encoding is being warmed. */
export const NO_EVENT_LOG: EventLogBounds = { ageMs: 0, maxEvents: 1_000_000 };

/**
 * The event log of one partition, for one opening of it: the partition's interactions in the order in which they were
 * applied, as a Redis Stream. An interaction may be there twice, with at most 13 other interactions of its user in
 * between: a record that all are appended to recognises it. Every method throws conflict if the term is over or the
 * partition was opened again.
 */
export interface EventLog {
  /**
   * Appends interactions, oldest first. Returns the number of interactions in the log.
   * @param repeatedUsers users some of whose interactions here were applied before
   */
  append(interactions: readonly Interaction[], repeatedUsers: ReadonlySet<string>): Promise<number>;
  /**
   * Deletes the interactions of a user, or one of them.
   * @param encodingIds the encodings that are being warmed: the rows of their files that wait are scrubbed, too
   */
  scrub(subject: ErasureSubject, encodingIds: readonly string[]): Promise<void>;
  /** Drops what is beyond the bounds. Returns the number of interactions in the log. */
  trim(): Promise<number>;
}

/** An interaction of a stream. */
export interface LoggedEvent {
  /** Id of its entry: the Unix ms of its append by Redis's clock, and a number. */
  readonly id: string;
  readonly interaction: Interaction;
}

type Arg = string | number;

interface Commands {
  ckvLogEvents(...args: Arg[]): Promise<number | null>;
  ckvScrubLog(...args: Arg[]): Promise<string | null>;
  ckvTrimLog(...args: Arg[]): Promise<number | null>;
}

const SCRIPTS = {
  ckvLogEvents: readScript('log-events-4.lua'),
  ckvScrubLog: readScript('scrub-log-4.lua'),
  ckvTrimLog: readScript('trim-log-4.lua'),
} as const satisfies Record<keyof Commands, unknown>;

/** Entries of one script call. A small number keeps the calls behind it from waiting long. */
const PAGE = 500;

/** Opens the event log of a partition. */
export function openEventLog(options: {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  readonly term: PartitionTerm;
  readonly token: string;
  readonly bounds: EventLogBounds;
}): EventLog {
  const { client, keyPrefix, term, token, bounds } = options;
  for (const [name, script] of Object.entries(SCRIPTS)) client.defineCommand(name, script);
  const commands = client as unknown as Commands;
  const { leases, terms } = leaseKeys(keyPrefix);
  const key = eventLogKey(keyPrefix, term.partition);
  const { states, files, marksPrefix } = warmingKeys(keyPrefix, term.partition);
  const member = [term.partition, term.member, term.term, token];
  const holder = [leases, terms, ...member];

  const kept = [bounds.ageMs, bounds.maxEvents];

  async function held<T>(answer: Promise<T | null>): Promise<T> {
    const given = await answer;
    if (given === null) throw new OpeningOver(term);
    return given;
  }

  return {
    async append(interactions, repeatedUsers) {
      let length = 0;
      for (let from = 0; from < interactions.length; from += PAGE) {
        const entries = interactions
          .slice(from, from + PAGE)
          .flatMap((one) => [...entryOf(one), repeatedUsers.has(one.userId) ? 0 : 1]);
        length = await held(commands.ckvLogEvents(key, states, ...holder, ...kept, marksPrefix, ...entries));
      }
      return length;
    },
    async scrub({ userId, eventId = '' }, encodingIds) {
      const filesOf = encodingIds.map((id) => ({ stream: files(id), marks: marksPrefix + id }));
      for (const { stream, marks } of [{ stream: key, marks: marksPrefix }, ...filesOf]) {
        let last = '0';
        do {
          const keys = [stream, leases, terms, marks];
          last = await held(commands.ckvScrubLog(...keys, ...member, userId, eventId, last, PAGE));
        } while (last !== '');
      }
    },
    trim: () => held(commands.ckvTrimLog(key, states, ...holder, ...kept)),
  };
}

/** Returns the user id, the event id and the rest of an interaction as JSON, as the streams hold them. */
export function entryOf({ userId, eventId, ...rest }: Interaction): [string, string, string] {
  return [userId, eventId, JSON.stringify(rest)];
}

/** Reads an interaction of an entry, whose values are those of {@link entryOf}. Returns undefined if it is none. */
export function readEntry(userId: string, eventId: string, rest: string): Interaction | undefined {
  try {
    return parseInteraction({ ...JSON.parse(rest), userId, eventId }, 'entry');
  } catch {
    return undefined;
  }
}
