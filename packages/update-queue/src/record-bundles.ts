import { onConnectionClosed, type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { readScript } from './lua-script.js';
import { recordBundlesKey } from './queue-names.js';

/**
 * The bundles that updaters wrote records for, on the server of the queue. This server never evicts, so a deletion
 * finds the records of every bundle, even if the records' Redis lost its own list. Throws dependency_unavailable.
 */
export interface RecordBundles {
  /** Notes bundles; call it before every append. One command an hour for each bundle, and after a lost connection. */
  note(bundleIds: readonly string[]): Promise<void>;
  /** Returns the ids of the noted bundles, at most {@link MAX_RECORD_BUNDLES}. */
  all(): Promise<string[]>;
}

/**
 * Most bundles of the list. Beyond them it forgets those whose last append is longest ago: their records have expired,
 * unless so many bundles are activated within the lifetime of a record. DeleteRecord takes 10,000, so there is room for
 * the followed bundles.
 */
export const MAX_RECORD_BUNDLES = 9_000;
/** How long a bundle counts as noted just now. */
const NOTED_MS = 3_600_000;

interface Commands {
  ckvNoteRecordBundles(...args: (string | number)[]): Promise<number>;
}

/** Opens the list of bundles. */
export function openRecordBundles(client: RedisClient, keyPrefix: string): RecordBundles {
  client.defineCommand('ckvNoteRecordBundles', readScript('note-record-bundles-1.lua'));
  const commands = client as unknown as Commands;
  const key = recordBundlesKey(keyPrefix);
  /** By bundle: when this process noted it last, by its monotonic clock. */
  const notedMs = new Map<string, number>();
  // The server may have come back without its latest writes.
  onConnectionClosed(client, () => notedMs.clear());
  return {
    async note(bundleIds) {
      const nowMs = performance.now();
      const due = bundleIds.filter((id) => nowMs - (notedMs.get(id) ?? Number.NEGATIVE_INFINITY) >= NOTED_MS);
      if (due.length === 0) return;
      await reachingRedis(() => commands.ckvNoteRecordBundles(key, MAX_RECORD_BUNDLES, ...due));
      for (const id of due) notedMs.set(id, nowMs);
    },
    all: () => reachingRedis(() => client.zrange(key, '0', '-1')),
  };
}
