import { DEFAULT_PARTITION_COUNT, MAX_PARTITION_COUNT } from '@collectivekv/update-queue';

/**
 * Reads CKV_PARTITIONS. If it is empty, the default counts.
 * @throws Error if it is not a whole number that an updater takes
 */
export function readPartitionCount({ CKV_PARTITIONS: text = '' }: NodeJS.ProcessEnv): number {
  if (text === '') return DEFAULT_PARTITION_COUNT;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= MAX_PARTITION_COUNT) return count;
  const range = `1 to ${MAX_PARTITION_COUNT}`;
  throw new Error(`CKV_PARTITIONS: "${text}" is not a whole number from ${range}; set it to the updater's value`);
}
