import { onConnectionClosed, type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { readScript } from './lua-script.js';
import { recordBundlesKey, recordEncodingsKey, sweepTurnKey } from './queue-names.js';

/**
 * The encodings that updaters wrote records for, on the server of the queue. This server never evicts, so a deletion
 * finds the records of every encoding, even if the records' Redis lost its own list. Throws dependency_unavailable.
 */
export interface RecordEncodings {
  /**
   * Notes encodings; call it before every append. One command an hour for each encoding, and after a lost connection.
   */
  note(encodingIds: readonly string[]): Promise<void>;
  /**
   * Returns the ids of the noted encodings, at most {@link MAX_RECORD_ENCODINGS}. From before records were bound to
   * encodings, it adds the ids of as many bundles: their records may still exist.
   */
  all(): Promise<string[]>;
  /** Returns the encodings that nobody has noted for a time, by Redis's clock. */
  stale(ageMs: number): Promise<string[]>;
  /** Forgets an encoding, unless somebody has noted it within the time. Call it when it has no records. */
  forget(encodingId: string, ageMs: number): Promise<void>;
  /** True for one caller within the time, by Redis's clock: it has the turn to remove old records. */
  takeTurn(ms: number): Promise<boolean>;
}

/**
 * Most encodings of the list. Beyond them it forgets those whose last append is longest ago: their records have
 * expired, unless so many encodings are activated within the lifetime of a record. DeleteRecord takes 20,000, so there
 * is room for the bundles from before and for the followed encodings.
 */
export const MAX_RECORD_ENCODINGS = 9_000;
/** How long an encoding counts as noted just now. */
const NOTED_MS = 3_600_000;

interface Commands {
  ckvNoteRecordEncodings(...args: (string | number)[]): Promise<number>;
  ckvStaleRecordEncodings(key: string, ageMs: number, forgotten: string): Promise<string[]>;
}

/** Opens the list of encodings. */
export function openRecordEncodings(client: RedisClient, keyPrefix: string): RecordEncodings {
  client.defineCommand('ckvNoteRecordEncodings', readScript('note-record-encodings-1.lua'));
  client.defineCommand('ckvStaleRecordEncodings', readScript('stale-record-encodings-1.lua'));
  const commands = client as unknown as Commands;
  const key = recordEncodingsKey(keyPrefix);
  /** By encoding: when this process noted it last, by its monotonic clock. */
  const notedMs = new Map<string, number>();
  // The server may have come back without its latest writes.
  onConnectionClosed(client, () => notedMs.clear());
  return {
    async note(encodingIds) {
      const nowMs = performance.now();
      const due = encodingIds.filter((id) => nowMs - (notedMs.get(id) ?? Number.NEGATIVE_INFINITY) >= NOTED_MS);
      if (due.length === 0) return;
      await reachingRedis(() => commands.ckvNoteRecordEncodings(key, MAX_RECORD_ENCODINGS, ...due));
      for (const id of due) notedMs.set(id, nowMs);
    },
    all: () =>
      reachingRedis(async () => {
        const lists = [key, recordBundlesKey(keyPrefix)].map((list) => client.zrange(list, '0', '-1'));
        return (await Promise.all(lists)).flat();
      }),
    stale: (ageMs) => reachingRedis(() => commands.ckvStaleRecordEncodings(key, ageMs, '')),
    forget: (encodingId, ageMs) =>
      reachingRedis(async () => void (await commands.ckvStaleRecordEncodings(key, ageMs, encodingId))),
    takeTurn: (ms) =>
      reachingRedis(async () => (await client.set(sweepTurnKey(keyPrefix), '1', 'PX', ms, 'NX')) === 'OK'),
  };
}
