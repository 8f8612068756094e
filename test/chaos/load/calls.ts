import type { CollectiveKvClient } from '@collectivekv/client';
import type { Queue } from 'bullmq';
import { crc32 } from './crc32.js';
import type { SentEvent, UserJournal } from './user-journal.js';

/** An event with the journal of its user. */
export interface Entry {
  readonly journal: UserJournal;
  readonly event: SentEvent;
}

/** A call of a backend. It can be sent again. */
export interface Call {
  /** `record` and `forget` go through the SDK. `job` is added to the queue by BullMQ. */
  readonly kind: 'record' | 'job' | 'forget';
  readonly entries: readonly Entry[];
  readonly idempotencyKey?: string;
}

/** The doors that calls use. */
export interface Doors {
  readonly client: CollectiveKvClient;
  /** BullMQ's queue of each partition. */
  readonly queues: readonly Queue[];
}

const RING = 14;

/** Sends a call once. Resolves when it was accepted. Any failure leaves its effect uncertain. */
export async function sendCall({ client, queues }: Doors, call: Call): Promise<void> {
  const inputs = call.entries.map(({ event }) => event.input);
  const [first] = inputs;
  if (!first) return;
  if (call.kind === 'forget') {
    await client.forgetInteraction(first);
  } else if (call.kind === 'job') {
    const queue = queues[partitionOf(first.userId, queues.length)];
    await queue?.add('record', { version: 1, interactions: inputs });
  } else {
    await client.recordInteractions(inputs, call.idempotencyKey ? { idempotencyKey: call.idempotencyKey } : {});
  }
}

/** Returns the partition of a user, as docs/wire-format.md says. */
export function partitionOf(userId: string, partitionCount: number): number {
  return crc32(userId) % partitionCount;
}

/**
 * True if docs/architecture.md promises that the call has no further effect now. The queue knows a call with a key, or
 * with more than 14 interactions of one user. A record knows the user's last 14 events.
 */
export function mayRepeat({ kind, entries, idempotencyKey }: Call): boolean {
  const counts = new Map<UserJournal, number>();
  for (const { journal } of entries) counts.set(journal, (counts.get(journal) ?? 0) + 1);
  if (kind === 'record' && (idempotencyKey || Math.max(...counts.values()) > RING)) return true;
  if (kind === 'forget') return true;
  return entries.every(({ journal, event }) => journal.stepsSince(event) <= RING);
}
