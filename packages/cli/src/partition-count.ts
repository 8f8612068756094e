import { DEFAULT_PARTITION_COUNT, MAX_PARTITION_COUNT } from '@collectivekv/update-queue';
import { readVariable } from './environment.js';

/**
 * Reads CKV_PARTITIONS, or its file. If it is empty, the default counts.
 * @throws Error if it is not a whole number that an updater takes
 */
export function readPartitionCount(env: NodeJS.ProcessEnv): number {
  const text = readVariable(env, 'CKV_PARTITIONS') ?? '';
  if (text === '') return DEFAULT_PARTITION_COUNT;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= MAX_PARTITION_COUNT) return count;
  const range = `1 to ${MAX_PARTITION_COUNT}`;
  throw new Error(`CKV_PARTITIONS: "${text}" is not a whole number from ${range}; set it to the updater's value`);
}
