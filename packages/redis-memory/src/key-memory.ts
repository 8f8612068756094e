// Bytes of keys in Redis 6.2 to 7.2, from its structures. Newer servers keep smaller entries.
import { allocatedBytes, textBytes } from './allocator.js';

/** A value as Redis keeps it. All lengths are in bytes. */
export type RedisValue =
  | { readonly kind: 'string'; readonly length: number }
  | { readonly kind: 'hash'; readonly fields: readonly HashField[] };

/** A field of a hash. */
export interface HashField {
  readonly nameLength: number;
  readonly valueLength: number;
}

/** A key and its value. */
export interface RedisKey {
  readonly keyLength: number;
  readonly value: RedisValue;
  /** True if the key has a TTL. */
  readonly expires: boolean;
  /** True on a server of a cluster. */
  readonly cluster?: boolean;
}

/** Bytes of a key. */
export interface KeyMemory {
  /** What MEMORY USAGE says: the key, its value and its entry, without its expiry. */
  readonly usageBytes: number;
  /** What `used_memory` grows by, without the tables of the database. */
  readonly usedBytes: number;
}

const OBJECT_BYTES = 16;
const ENTRY_BYTES = 24;
/** What an entry has in a cluster beside: the links of the keys of one slot. */
const SLOT_LINK_BYTES = 16;
const TABLE_BYTES = 56;
const BUCKET_BYTES = 8;
/** Longest string that shares its allocation with its object. */
const MAX_EMBEDDED = 44;
const EMBEDDED_HEADER_BYTES = 3;
/** A hash with a longer name or value becomes a table. */
const MAX_PACKED_VALUE = 64;
const MAX_PACKED_FIELDS = 512;
const PACKED_HEADER_BYTES = 7;
const MIN_BUCKETS = 4;
/** Mean of a long hash, which has one to two buckets a field. */
const BUCKETS_OF_FIELD = 1.5;
/** Longest list of a quicklist's node, with Redis's default `list-max-listpack-size`. */
const LIST_NODE_BYTES = 8_192;
const LIST_NODE_HEADER_BYTES = 32;
/** Largest node of a stream, and its most entries, with Redis's default `stream-node-max-bytes` and `-entries`. */
const STREAM_NODE_BYTES = 4_096;
const STREAM_NODE_ENTRIES = 100;
/** Flags, the difference of the id, and the number of elements of an entry. */
const STREAM_ENTRY_HEADER_BYTES = 12;
/** The node's key in the tree of a stream, and its share of the tree. */
const STREAM_NODE_TREE_BYTES = 80;

/** Returns the bytes of a key and its value. */
export function keyMemory({ keyLength, value, expires, cluster = false }: RedisKey): KeyMemory {
  const entryBytes = ENTRY_BYTES + (cluster ? SLOT_LINK_BYTES : 0);
  const keyBytes = textBytes(keyLength);
  // MEMORY USAGE counts entries and tables as they are declared, not as they are allocated.
  return {
    usageBytes: keyBytes + valueBytes(value, (bytes) => bytes) + entryBytes,
    usedBytes:
      keyBytes +
      valueBytes(value, allocatedBytes) +
      allocatedBytes(entryBytes) +
      (expires ? allocatedBytes(ENTRY_BYTES) : 0),
  };
}

/** Returns the bytes of a table that holds `count` keys: of a database, or of the expiries in it. */
export function tableBytes(count: number): number {
  return count === 0 ? 0 : bucketsOf(count) * BUCKET_BYTES;
}

/** Returns the bytes of one text in a long list. */
export function listEntryBytes(length: number): number {
  const entryBytes = packedEntryBytes(length);
  const entriesOfNode = Math.max(1, Math.floor((LIST_NODE_BYTES - PACKED_HEADER_BYTES) / entryBytes));
  const nodeBytes = allocatedBytes(PACKED_HEADER_BYTES + entriesOfNode * entryBytes) + LIST_NODE_HEADER_BYTES;
  return nodeBytes / entriesOfNode;
}

/** Returns the bytes of one field in a long hash. */
export function hashFieldBytes({ nameLength, valueLength }: HashField): number {
  return allocatedBytes(ENTRY_BYTES) + textBytes(nameLength) + textBytes(valueLength) + BUCKETS_OF_FIELD * BUCKET_BYTES;
}

/** Returns the bytes of a value. `sizeOf` returns those of an entry, or of a table's head. */
function valueBytes(value: RedisValue, sizeOf: (bytes: number) => number): number {
  if (value.kind === 'hash') return allocatedBytes(OBJECT_BYTES) + hashBytes(value.fields, sizeOf);
  const { length } = value;
  if (length <= MAX_EMBEDDED) return allocatedBytes(OBJECT_BYTES + EMBEDDED_HEADER_BYTES + length + 1);
  return allocatedBytes(OBJECT_BYTES) + textBytes(length);
}

/**
 * Returns the bytes of one entry in a long stream whose entries have the same fields.
 * @param lengths of the entry's values, bytes
 */
export function streamEntryBytes(lengths: readonly number[]): number {
  const entryBytes = lengths.reduce((sum, length) => sum + packedEntryBytes(length), STREAM_ENTRY_HEADER_BYTES);
  const fitting = Math.floor((STREAM_NODE_BYTES - PACKED_HEADER_BYTES) / entryBytes);
  const entriesOfNode = Math.max(1, Math.min(STREAM_NODE_ENTRIES, fitting));
  const nodeBytes = allocatedBytes(PACKED_HEADER_BYTES + entriesOfNode * entryBytes) + STREAM_NODE_TREE_BYTES;
  return nodeBytes / entriesOfNode;
}

function hashBytes(fields: readonly HashField[], sizeOf: (bytes: number) => number): number {
  const lengths = fields.flatMap(({ nameLength, valueLength }) => [nameLength, valueLength]);
  if (fields.length <= MAX_PACKED_FIELDS && lengths.every((length) => length <= MAX_PACKED_VALUE)) {
    return allocatedBytes(lengths.reduce((sum, length) => sum + packedEntryBytes(length), PACKED_HEADER_BYTES));
  }
  const texts = lengths.reduce((sum, length) => sum + textBytes(length), 0);
  const buckets = bucketsOf(fields.length);
  const formerBuckets = buckets > MIN_BUCKETS ? buckets / 2 : 0; // kept until the hash is used again
  const tables = sizeOf(TABLE_BYTES) + (buckets + formerBuckets) * BUCKET_BYTES;
  return texts + tables + fields.length * sizeOf(ENTRY_BYTES);
}

/** Returns the bytes of a text in a listpack: its header, the text, and its length once more from behind. */
function packedEntryBytes(length: number): number {
  const headerBytes = length < 64 ? 1 : length < 4_096 ? 2 : 5;
  return headerBytes + length + (headerBytes + length < 128 ? 1 : 2);
}

function bucketsOf(count: number): number {
  return Math.max(MIN_BUCKETS, 2 ** Math.ceil(Math.log2(count)));
}
