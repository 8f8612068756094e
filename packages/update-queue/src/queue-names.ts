/** Partitions if nothing else is configured. */
export const DEFAULT_PARTITION_COUNT = 16;

/** Most partitions of a queue. */
export const MAX_PARTITION_COUNT = 1_024;

/** Returns the name of a partition's queue. */
export function partitionQueueName(partition: number): string {
  return `interactions-${partition}`;
}

/**
 * Returns the prefix of every key of the queue. Its braces are a hash tag: a cluster keeps all partitions and their
 * leases in one slot, as scripts over several keys need.
 */
export function queuePrefix(keyPrefix: string): string {
  return `{${keyPrefix}}`;
}

/** Keys of the leases, beside the queues. */
export interface LeaseKeys {
  /** Sorted set of members by the Unix ms at which they count as gone. */
  readonly members: string;
  /** Hash of leases by partition. */
  readonly leases: string;
  /** Hash of terms by partition, and of the current openings. */
  readonly terms: string;
}

/** Returns the keys of the leases. */
export function leaseKeys(keyPrefix: string): LeaseKeys {
  const prefix = queuePrefix(keyPrefix);
  return { members: `${prefix}:updaters`, leases: `${prefix}:partition-leases`, terms: `${prefix}:partition-terms` };
}

/** Returns a key that holds nothing, on the queue's server: a write to it shows whether the server takes writes. */
export function triedWriteKey(keyPrefix: string): string {
  return `${queuePrefix(keyPrefix)}:tried-write`;
}

/** Returns the key of a receipt. */
export function receiptKey(keyPrefix: string, receiptId: string): string {
  return `${queuePrefix(keyPrefix)}:receipt:${receiptId}`;
}

/** Returns the key of the sorted set of the encodings that updaters wrote records for, by their last note in Unix ms. */
export function recordEncodingsKey(keyPrefix: string): string {
  return `${queuePrefix(keyPrefix)}:record-encodings-by-time`;
}

/** Returns the key of the same set of bundles, from before records were bound to encodings. It is only read. */
export function recordBundlesKey(keyPrefix: string): string {
  return `${queuePrefix(keyPrefix)}:record-bundles-by-time`;
}

/** Returns the key of a partition's event log. */
export function eventLogKey(keyPrefix: string, partition: number): string {
  return `${queuePrefix(keyPrefix)}:event-log-${partition}`;
}

/** Returns the key of the hash of what is being warmed, by encoding. */
export function warmingsKey(keyPrefix: string): string {
  return `${queuePrefix(keyPrefix)}:warmings`;
}

/** Returns the key of the hash of claims by encoding. */
export function encodingClaimsKey(keyPrefix: string): string {
  return `${queuePrefix(keyPrefix)}:encoding-claims`;
}

/** Returns the key of the hash of finished warmings, by encoding. */
export function finishedWarmingsKey(keyPrefix: string): string {
  return `${queuePrefix(keyPrefix)}:finished-warmings`;
}

/** Keys of the warming in a partition. */
export interface WarmingKeys {
  /** Hash of the states of the encodings that are being warmed. */
  readonly states: string;
  /** Returns the key of the rows of an encoding's files that wait, a stream. */
  files(encodingId: string): string;
  /** Begins the keys of the marks of the encodings. */
  readonly marksPrefix: string;
}

/** Begins the keys of the warming in every partition; a partition's number follows. */
export function warmingPrefix(keyPrefix: string): string {
  return `${queuePrefix(keyPrefix)}:warming-`;
}

/** Returns the keys of the warming in a partition. */
export function warmingKeys(keyPrefix: string, partition: number): WarmingKeys {
  const states = `${warmingPrefix(keyPrefix)}${partition}`;
  return { states, files: (encodingId) => `${states}:files:${encodingId}`, marksPrefix: `${states}:marks:` };
}

/** Returns the key that exists while an updater has the turn to remove old records. */
export function sweepTurnKey(keyPrefix: string): string {
  return `${queuePrefix(keyPrefix)}:sweep-turn`;
}
