import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  allDone,
  CkvError,
  invalidRequest,
  LONGEST_RING,
  RECENT_EVENT_RING,
  RECORD_FIXED_BYTES,
} from '@collectivekv/domain';
import { primariesOf, type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { announceErasure } from './erasures.js';
import { RecordCount } from './record-count.js';
import { deleteFromBytes } from './record-edit.js';
import { createRecordKeys } from './record-keys.js';
import { createRedisRecordReader, NOT_A_STRING, unreadableKey } from './redis-record-reader.js';
import {
  type Append,
  type AppendOutcome,
  checkAppend,
  fenceEnded,
  NO_FENCE,
  noRecord,
  type PositionMatch,
  type RecordShape,
  type UserEncoding,
  type UserStore,
  type WriteFence,
} from './user-store.js';

/** Options of {@link createRedisUserStore}. */
export interface RedisUserStoreOptions {
  readonly client: RedisClient;
  /** Begins every key. */
  readonly keyPrefix: string;
  /** A record expires after this time without an append, s. */
  readonly recordTtlS: number;
}

const UNREADABLE_TTL_S = 7 * 24 * 3600;
const SCAN_COUNT = 500;
/** Pages of a scan of one `dropRecords` call. */
const DROP_PAGES = 200;
/** Records of one script call that deletes them. */
const DROPS_PER_CALL = 1_000;
const SWAP_TRIES = 5;
/** Encodings of one script call. */
const ENCODINGS_PER_CALL = 500;
/** Users of one script call. A small number keeps the reads behind the call from waiting long. */
const USERS_PER_CALL = 32;

/** The append script's answer for one user; -1 alone if the record is of another encoding. */
type AppendReply = [applied: number, duplicates: number, positions: number, unreadable: number] | [-1];

/** The Lua scripts, as commands of a client. */
interface Scripts {
  ckvAppendPositions(
    keyCount: number,
    ...keysAndArguments: (string | number | Buffer)[]
  ): Promise<AppendReply[] | null>;
  ckvDeleteUser(keyCount: number, ...keysAndArguments: (string | number)[]): Promise<number[] | null>;
  ckvDropRecords(keyCount: number, ...keysAndArguments: (string | number)[]): Promise<number | null>;
  ckvSwapRecord(key: string, sha1: string, record: Buffer, validUntilMs: number): Promise<number | null>;
}

/** Creates the store of user records in Redis. Each record is one string. */
export function createRedisUserStore({ client, keyPrefix, recordTtlS }: RedisUserStoreOptions): UserStore {
  const keys = createRecordKeys(keyPrefix);
  client.defineCommand('ckvAppendPositions', { lua: readLua('append-positions-2n.lua') });
  client.defineCommand('ckvDeleteUser', { lua: readLua('delete-user-2n.lua') });
  client.defineCommand('ckvDropRecords', { lua: readLua('drop-records-1n.lua') });
  client.defineCommand('ckvSwapRecord', { numberOfKeys: 1, lua: readLua('swap-record-1.lua') });
  const scripts = client as unknown as Scripts;

  /**
   * Deletes a position, or a record that cannot be read, unless another writer changed the record in between. Returns
   * undefined after such a change.
   */
  async function trySwap(encodingId: string, userId: string, match: PositionMatch, { validUntilMs }: WriteFence) {
    const key = keys.record(userId, encodingId);
    const bytes = await client.getBuffer(key).catch(unreadableKey);
    if (!bytes) throw noRecord();
    const { bytes: edited, outcome } = deleteFromBytes(bytes, encodingId, match);
    if (!edited) return outcome;
    const sha1 = bytes === NOT_A_STRING ? 'other' : createHash('sha1').update(bytes).digest('hex');
    const swapped = await scripts.ckvSwapRecord(key, sha1, asBuffer(edited), validUntilMs);
    if (swapped === null) throw fenceEnded();
    return swapped === 1 ? outcome : undefined;
  }

  // A cluster call reaches one slot, and every user has a slot of their own.
  const usersPerCall = client.isCluster ? 1 : USERS_PER_CALL;

  async function appendTogether(
    { encodingId, strideBytes, maxPositions }: RecordShape,
    appends: readonly Append[],
    { validUntilMs }: WriteFence,
  ): Promise<AppendReply[]> {
    const replies = await scripts.ckvAppendPositions(
      2 * appends.length,
      ...appends.flatMap(({ userId }) => [keys.record(userId, encodingId), keys.unreadable(userId, encodingId)]),
      Buffer.from(encodingId, 'hex'),
      strideBytes,
      maxPositions,
      RECENT_EVENT_RING,
      recordTtlS,
      UNREADABLE_TTL_S,
      validUntilMs,
      LONGEST_RING,
      ...appends.flatMap(({ lastEventMs, eventHashes, rows }) => [lastEventMs, asBuffer(eventHashes), asBuffer(rows)]),
    );
    if (!replies) throw fenceEnded();
    return replies;
  }

  /** Deletes records unless the fence has ended: Redis looks as it deletes. Returns their number. */
  async function drop(recordKeys: readonly string[], { validUntilMs }: WriteFence): Promise<number> {
    const perCall = client.isCluster ? 1 : DROPS_PER_CALL;
    const calls: Promise<number | null>[] = [];
    for (let from = 0; from < recordKeys.length; from += perCall) {
      const part = recordKeys.slice(from, from + perCall);
      calls.push(scripts.ckvDropRecords(part.length, ...part, validUntilMs));
    }
    const counts = await allDone(calls);
    return counts.reduce<number>((sum, count) => {
      if (count === null) throw fenceEnded();
      return sum + count;
    }, 0);
  }

  return {
    ...createRedisRecordReader({ client, keyPrefix }),

    async appendPositions(shape, appends, fence = NO_FENCE) {
      for (const [i, append] of appends.entries()) checkAppend(shape, append, `appends[${i}]`);
      return reachingRedis(async () => {
        const calls: Promise<AppendReply[]>[] = [];
        for (let from = 0; from < appends.length; from += usersPerCall) {
          calls.push(appendTogether(shape, appends.slice(from, from + usersPerCall), fence));
        }
        const [replies] = await Promise.all([allDone(calls), client.sadd(keys.encodings, shape.encodingId)]);
        return replies.flat().map(outcomeOf);
      });
    },

    replaceRecord: (encodingId, userId, record) =>
      reachingRedis(async () => {
        await client.sadd(keys.encodings, encodingId);
        await client.set(keys.record(userId, encodingId), asBuffer(record), 'EX', recordTtlS);
      }),

    deleteUser: (userId, { encodingIds: named = [], keepRecords = false } = {}, { validUntilMs } = NO_FENCE) =>
      reachingRedis(async () => {
        const listed = await Promise.all([keys.encodings, keys.bundles].map((list) => client.smembers(list)));
        // Two encodings whose ids begin alike share a key: each key once, or its record would count for both.
        const byKey = new Map([...listed.flat(), ...named].map((id) => [keys.record(userId, id), id]));
        const encodingIds = [...byKey.values()];
        const found: UserEncoding[] = [];
        for (let from = 0; from < encodingIds.length; from += ENCODINGS_PER_CALL) {
          const part = encodingIds.slice(from, from + ENCODINGS_PER_CALL);
          const pairs = part.flatMap((id) => [keys.record(userId, id), keys.unreadable(userId, id)]);
          const positions = await scripts.ckvDeleteUser(pairs.length, ...pairs, validUntilMs, keepRecords ? 1 : 0);
          if (!positions) throw fenceEnded();
          part.forEach((encodingId, i) => {
            const [positionCount = -1, aside = -1] = positions.slice(2 * i, 2 * i + 2); // -1: no such key
            const [record, unreadable] = [positionCount >= 0, aside >= 0];
            if (!record && !unreadable) return;
            found.push({ encodingId, record, unreadable, positionCount: Math.max(0, positionCount) });
          });
        }
        if (!keepRecords) await announceErasure(client, keyPrefix, userId);
        return found;
      }),

    deletePosition: (encodingId, userId, match, fence = NO_FENCE) =>
      reachingRedis(async () => {
        for (let i = 0; i < SWAP_TRIES; i++) {
          const outcome = await trySwap(encodingId, userId, match, fence);
          if (outcome?.deleted || outcome?.unreadable) await announceErasure(client, keyPrefix, userId);
          if (outcome) return outcome;
        }
        throw new CkvError('conflict', 'other writers kept changing the record; try again');
      }),

    dropRecords: (encodingId, cursor, fence = NO_FENCE) =>
      reachingRedis(async () => {
        const primaries = primariesOf(client);
        let [at, position] = readDropCursor(cursor);
        let droppedCount = 0;
        for (let page = 0; page < DROP_PAGES; page++) {
          const primary = primaries[at];
          if (!primary) return { droppedCount, nextCursor: '' };
          const [next, keysFound] = await primary.scan(
            position,
            'MATCH',
            keys.pattern(encodingId),
            'COUNT',
            SCAN_COUNT,
          );
          droppedCount += await drop([...new Set(keysFound)], fence);
          position = next;
          if (next === '0') at++;
        }
        return { droppedCount, nextCursor: at < primaries.length ? `${at}-${position}` : '' };
      }),

    stats: (encodingId, maxRecords, signal) =>
      reachingRedis(async () => {
        const seen = new Set<string>(); // SCAN may return a key twice while the table grows
        const total = new RecordCount();
        let truncated = false;
        for (const primary of primariesOf(client)) {
          let cursor = '0';
          do {
            signal?.throwIfAborted();
            const [next, found] = await primary.scan(cursor, 'MATCH', keys.pattern(encodingId), 'COUNT', SCAN_COUNT);
            cursor = next;
            const unseen = [...new Set(found)].filter((key) => !seen.has(key));
            const counted = unseen.slice(0, maxRecords - total.recordCount);
            truncated ||= counted.length < unseen.length;
            for (const key of counted) seen.add(key);
            const headers = await Promise.all(
              counted.map((key) => primary.getrangeBuffer(key, 0, RECORD_FIXED_BYTES - 1).catch(unreadableKey)),
            );
            const sizes = await Promise.all(counted.map((key) => primary.memory('USAGE', key, 'SAMPLES', 0)));
            for (const [i, key] of counted.entries()) {
              const header = headers[i] ?? Buffer.alloc(0); // too short if deleted since the scan, or not a record
              const memoryBytes = Number(sizes[i] ?? 0);
              total.add({ header, keyBytes: Buffer.byteLength(key), memoryBytes, cluster: client.isCluster });
            }
          } while (cursor !== '0' && !truncated);
        }
        return total.stats(truncated);
      }),
  };
}

/** Reads a cursor of `dropRecords`: the number of a primary, and the cursor of its scan. */
function readDropCursor(cursor: string): [primary: number, position: string] {
  if (cursor === '') return [0, '0'];
  const [, primary, position] = /^(\d{1,4})-(\d{1,20})$/.exec(cursor) ?? [];
  if (primary !== undefined && position !== undefined) return [Number(primary), position];
  throw invalidRequest('cursor', 'is of no answer', 'send next_cursor of the call before, or nothing');
}

function outcomeOf([appliedCount, duplicateCount = 0, positionCount = 0, unreadable]: AppendReply): AppendOutcome {
  if (appliedCount >= 0) return { appliedCount, duplicateCount, positionCount, unreadable: unreadable === 1 };
  const text = 'encoding_id: a record under this name is of another encoding';
  throw new CkvError('encoding_mismatch', text, { field: 'encoding_id' });
}

function readLua(file: string): string {
  return readFileSync(new URL(`../lua/${file}`, import.meta.url), 'utf8');
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
