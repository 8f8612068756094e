import { commonConfig, parseConfig } from '@collectivekv/service-kit';
import { z } from 'zod';

/** Configuration of the ranking service; docs/configuration.md is checked against it. */
export const rankingConfigSchema = z.object({
  ...commonConfig({ port: 50053 }),
  CKV_POOL_TARGET: z.string().min(1).default('127.0.0.1:50051').describe('gRPC target of the pool service'),
  CKV_RECORD_READS: z
    .enum(['redis', 'user-cache'])
    .default('redis')
    .describe('how records are read: from Redis itself, or through the user-cache, where it alone may reach Redis'),
  CKV_REDIS_URL: z
    .string()
    .min(1)
    .default('redis://127.0.0.1:6379')
    .describe("the user-cache's Redis; a Redis user who may only read is enough"),
  CKV_KEY_PREFIX: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, _, . and -')
    .default('ckv')
    .describe("begins every key in Redis; the user-cache's, or every user looks cold"),
  CKV_USER_CACHE_TARGET: z
    .string()
    .min(1)
    .default('127.0.0.1:50052')
    .describe('gRPC target of the user-cache service, where records are read through it'),
  CKV_POOL_MODE: z
    .enum(['replica', 'remote'])
    .default('replica')
    .describe('replica: the pool is inside the rank graph; remote: its rows are gathered from the pool service'),
  CKV_PROVIDER: z.enum(['cpu', 'cuda', 'webgpu']).default('cpu').describe('execution provider of the graphs'),
  CKV_WORKERS: z.coerce.number().int().min(1).max(64).default(1).describe('worker threads that run graphs'),
  CKV_THREADS_PER_WORKER: z.coerce.number().int().min(1).max(64).default(1).describe('threads of one graph run'),
  CKV_PART_CANDIDATES: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .default(100)
    .describe('candidates that a part has at least where idle workers share a request; 0 never splits one'),
  CKV_QUEUE_LIMIT: z.coerce.number().int().min(1).max(100_000).default(256).describe('graph runs that may wait'),
  CKV_CACHE_DIR: z.string().min(1).default('.ckv/cache/ranking').describe('folder of fetched bundles'),
  CKV_NEAR_CACHE_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(64 * 1024 * 1024)
    .describe('bound of the copies of records that max_staleness_ms may be served from; 0 keeps none'),
  CKV_FETCH_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(1)
    .max(60_000)
    .default(250)
    .describe('longest wait for a record before an answer without history'),
});

/** Checked configuration. */
export type RankingConfig = z.infer<typeof rankingConfigSchema>;

/** Reads the configuration; every problem is reported at once. */
export function loadConfig(env: NodeJS.ProcessEnv): Readonly<RankingConfig> {
  return parseConfig(rankingConfigSchema, env);
}
