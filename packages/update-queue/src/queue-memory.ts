import type { Interaction } from '@collectivekv/domain';
import {
  type HashField,
  hashFieldBytes,
  keyMemory,
  listEntryBytes,
  streamEntryBytes,
} from '@collectivekv/redis-memory';
import { entryOf } from './event-log.js';
import { jobIdOf, recordJobData } from './interaction-jobs.js';
import { MAX_FAILED_JOBS } from './open-queues.js';
import { REMEMBER_JOB_MS } from './producer.js';
import { partitionQueueName, queuePrefix, receiptKey } from './queue-names.js';

/** What a `record` job takes in the queue's Redis, bytes. */
export interface JobMemory {
  /** The payload as JSON. */
  readonly payloadBytes: number;
  /** The job while it waits: its hash, and its id in the list. */
  readonly waitingBytes: number;
  /** The key, or the field, by which the queue knows the job later. */
  readonly rememberedBytes: number;
  /** How long it is kept after the job was added, s: at most, while its partition gets jobs. */
  readonly rememberedS: number;
}

/** Options of {@link jobMemory}. */
export interface JobMemoryOptions {
  readonly keyPrefix: string;
  /** The interactions of the job. */
  readonly interactions: readonly Interaction[];
  /** True if the queue remembers the job for an hour: its call has a key, or more interactions of a user than a ring. */
  readonly keyed: boolean;
}

/** How long lua/add-job-9.lua remembers a job without a key, at most: four times half a minute. */
const REMEMBER_CALL_MS = 120_000;
/** Bytes of the digest by which it knows the job. */
const DIGEST = 12;
/** Characters of the hash that names a keyed call. */
const CALL_HASH = 24;
const PARTITION = 10; // a number of two digits, as most have
const TIMESTAMP = '1700000000000';

/** Returns the bytes that a `record` job takes in Redis: while it waits, and as long as the queue remembers it. */
export function jobMemory({ keyPrefix, interactions, keyed }: JobMemoryOptions): JobMemory {
  const prefix = `${queuePrefix(keyPrefix)}:${partitionQueueName(PARTITION)}:`;
  const id = jobIdOf('record', interactions);
  const payload = Buffer.byteLength(JSON.stringify(recordJobData(interactions)));
  const callId = `${id}-${'0'.repeat(CALL_HASH)}`;
  const options = {
    attempts: 1,
    jobId: id,
    removeOnComplete: true,
    removeOnFail: { count: MAX_FAILED_JOBS },
    ...(keyed ? { de: { id: callId, ttl: REMEMBER_JOB_MS } } : {}),
  };
  const fields: HashField[] = [
    fieldOf('name', 'record'),
    { nameLength: 'data'.length, valueLength: payload },
    fieldOf('opts', JSON.stringify(options)),
    fieldOf('timestamp', TIMESTAMP),
    fieldOf('delay', '0'),
    fieldOf('priority', '0'),
    ...(keyed ? [fieldOf('deid', callId)] : []),
  ];
  const job = keyMemory({ keyLength: `${prefix}${id}`.length, value: { kind: 'hash', fields }, expires: false });
  const rememberedBytes = keyed
    ? keyMemory({
        keyLength: `${prefix}de:${callId}`.length,
        value: { kind: 'string', length: id.length },
        expires: true,
      }).usedBytes
    : hashFieldBytes({ nameLength: DIGEST, valueLength: 0 });
  return {
    payloadBytes: payload,
    waitingBytes: job.usedBytes + listEntryBytes(id.length),
    rememberedBytes,
    rememberedS: (keyed ? REMEMBER_JOB_MS : REMEMBER_CALL_MS) / 1_000,
  };
}

/** Returns the bytes of an erasure's receipt that names one encoding. */
export function receiptBytes(keyPrefix: string): number {
  const report = {
    encodings: [
      { encodingId: '0'.repeat(16), recordCount: 1, unreadableCount: 0, positionCount: 1_000, remainder: 'nothing' },
    ],
    setAsideCount: 0,
    waitingCount: 0,
    keptCount: 0,
  };
  const fields = [
    fieldOf('kind', 'delete'),
    fieldOf('check', '00'),
    fieldOf('state', 'done'),
    fieldOf('requestedAtMs', TIMESTAMP),
    fieldOf('doneAtMs', TIMESTAMP),
    fieldOf('tries', '1'),
    fieldOf('report', JSON.stringify(report)),
  ];
  const keyLength = receiptKey(keyPrefix, '0'.repeat(36)).length;
  return keyMemory({ keyLength, value: { kind: 'hash', fields }, expires: true }).usedBytes;
}

/** Returns the bytes that an interaction takes in the event log. */
export function loggedBytes(interaction: Interaction): number {
  return streamEntryBytes(entryOf(interaction).map((value) => Buffer.byteLength(value)));
}

function fieldOf(name: string, value: string): HashField {
  return { nameLength: name.length, valueLength: value.length };
}
