import {
  bundleTrustConfig,
  commonConfig,
  deviceConfig,
  parseConfig,
  redisTlsConfig,
  targetConfig,
} from '@collectivekv/service-kit';
import { DEFAULT_PARTITION_COUNT, MAX_PARTITION_COUNT } from '@collectivekv/update-queue';
import { z } from 'zod';

/** Configuration of the updater service; docs/configuration.md is checked against it. */
export const updaterConfigSchema = z.object({
  ...commonConfig({ port: 50054 }),
  CKV_POOL_TARGET: targetConfig({ port: 50051, means: 'gRPC target of the pool service' }),
  ...bundleTrustConfig(),
  CKV_USER_CACHE_TARGET: targetConfig({ port: 50052, means: 'gRPC target of the user-cache service' }),
  CKV_QUEUE_REDIS_URL: z
    .string()
    .min(1)
    .default('redis://127.0.0.1:6379')
    .describe('Redis of the interaction queue, which must never evict (maxmemory-policy noeviction)'),
  ...redisTlsConfig(),
  CKV_CONFIRM_REPLICAS: z.coerce
    .number()
    .int()
    .min(0)
    .max(10)
    .default(0)
    .describe('replicas of Redis that must have an accepted interaction before the call is answered; 0 waits for none'),
  CKV_KEY_PREFIX: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, _, . and -')
    .default('ckv')
    .describe('begins every key in Redis'),
  CKV_PARTITIONS: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_PARTITION_COUNT)
    .default(DEFAULT_PARTITION_COUNT)
    .describe('partitions of the queue: the most updaters that can share the work; the same value for all updaters'),
  CKV_MAX_WAITING_JOBS: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000_000)
    .default(100_000)
    .describe('jobs that may wait in a partition before Record answers RESOURCE_EXHAUSTED'),
  CKV_BATCH_INTERACTIONS: z.coerce
    .number()
    .int()
    .min(1)
    .max(16_384)
    .default(2_048)
    .describe('most interactions of one graph run'),
  CKV_EVENT_LOG: z
    .string()
    .regex(/^(off|[1-9]\d{0,3}[hd])$/, 'must be off, or a number of hours or days such as 36h or 30d')
    .default('off')
    .describe(
      'how long applied interactions stay in the event log, from which new records can be built: off, 36h, 30d',
    ),
  CKV_EVENT_LOG_MAX_EVENTS: z.coerce
    .number()
    .int()
    .min(1_000)
    .max(1_000_000_000)
    .default(1_000_000)
    .describe('most interactions in the event log of a partition; beyond them the oldest are dropped'),
  CKV_BACKFILL_RATE: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000_000)
    .default(20_000)
    .describe('most interactions a second that this updater applies to records that are being built'),
  CKV_OLD_RECORDS_GRACE_S: z.coerce
    .number()
    .int()
    .min(7_200)
    .max(10 * 365 * 86_400)
    .default(7 * 86_400)
    .describe('records of an encoding that no announced bundle has are removed after this time, seconds'),
  CKV_RECEIPT_TTL_S: z.coerce
    .number()
    .int()
    .min(3_600)
    .max(10 * 365 * 86_400)
    .default(90 * 86_400)
    .describe('a receipt of an erasure expires after this time without a change, seconds'),
  ...deviceConfig(),
  CKV_WORKERS: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe('worker threads that encode; several help only bundles that encode with history, user by user'),
  CKV_THREADS_PER_WORKER: z.coerce.number().int().min(1).max(64).default(1).describe('threads of one graph run'),
  CKV_CACHE_DIR: z
    .string()
    .min(1)
    .default('.ckv/cache/updater')
    .describe('folder for fetched bundles; needs room for two copies of each'),
});

/** Returns the time that a value of CKV_EVENT_LOG stands for, ms; 0 for `off`. */
export function eventLogAgeMs(text: string): number {
  return text === 'off' ? 0 : Number(text.slice(0, -1)) * (text.endsWith('d') ? 86_400_000 : 3_600_000);
}

/** Checked configuration. */
export type UpdaterConfig = z.infer<typeof updaterConfigSchema>;

/** Reads the configuration. Reports every problem at once. CKV_REDIS_URL is the default of CKV_QUEUE_REDIS_URL. */
export function loadConfig(env: NodeJS.ProcessEnv): Readonly<UpdaterConfig> {
  const queueUrl =
    env.CKV_QUEUE_REDIS_URL || env.CKV_QUEUE_REDIS_URL_FILE ? {} : { CKV_QUEUE_REDIS_URL: env.CKV_REDIS_URL };
  return parseConfig(updaterConfigSchema, { ...env, ...queueUrl });
}
