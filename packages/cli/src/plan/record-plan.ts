import { fullKvBytes } from '@collectivekv/domain';
import { tableBytes } from '@collectivekv/redis-memory';
import { recordMemory } from '@collectivekv/user-store';
import { createSection, type Section } from './figure.js';
import { meanOver } from './history-lengths.js';
import type { PlanInput, PlannedBundle } from './plan-input.js';

/** The records of all users. */
export interface RecordPlan {
  readonly section: Section;
  /** The mean record itself, bytes. */
  readonly valueBytes: number;
  /** The mean record as Redis allocates it, with its key, bytes. */
  readonly usedBytes: number;
  /** All records in Redis, bytes. */
  readonly totalBytes: number;
}

/** Computes the bytes of all records, beside those of a full KV cache with the same positions. */
export function planRecords(input: PlanInput, { manifest, strideBytes }: PlannedBundle): RecordPlan {
  const { users, lengths, keyPrefix, userIdBytes, encodings } = input;
  const { section, computed } = createSection('Records in Redis', 'records');
  const memoryOf = (stride: number) => {
    const at = (positionCount: number) => recordMemory({ keyPrefix, userIdBytes, strideBytes: stride, positionCount });
    const usedBytes = meanOver(lengths, (positions) => at(positions).usedBytes);
    return {
      valueBytes: meanOver(lengths, (positions) => at(positions).valueBytes),
      usedBytes,
      totalBytes: users * usedBytes + 2 * tableBytes(users), // a table of keys and one of expiries
    };
  };
  const positions = meanOver(lengths, (count) => count);
  const ours = memoryOf(strideBytes);
  const fullBytes = fullKvBytes(manifest);
  const [fp32, fp16] = [memoryOf(fullBytes), memoryOf(fullBytes / 2)];

  computed('rowBytes', 'a row', strideBytes, 'bytes', "the bundle's record fields");
  computed('recordBytes', 'a record, mean', ours.valueBytes, 'bytes', 'header, ring of 14 events and rows');
  const redisBasis = "with its key and TTL, in jemalloc's sizes";
  computed('userBytes', 'a record in Redis, mean', ours.usedBytes, 'bytes', redisBasis);
  computed('positionBytes', 'a position in Redis, mean', ours.usedBytes / positions, 'bytes', 'the same, divided');
  computed('redisBytes', 'all records', ours.totalBytes, 'bytes', 'of all users, with the tables of keys');
  const both = `${encodings} encodings at once, as while one replaces another`;
  computed('encodingsBytes', 'all records of all encodings', encodings * ours.totalBytes, 'bytes', both);
  computed('fullFp32Bytes', 'a full KV cache, float32', fp32.totalBytes, 'bytes', `${fullBytes} bytes a position`);
  computed('fullFp16Bytes', 'a full KV cache, float16', fp16.totalBytes, 'bytes', `${fullBytes / 2} bytes a position`);
  const saved = fp32.totalBytes / ours.totalBytes;
  computed('fullFp32Times', 'a full cache over these records', saved, 'times', 'float32; half of it in float16');
  return { section, ...ours };
}
