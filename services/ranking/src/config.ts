import { bundleTrustConfig, commonConfig, parseConfig, redisTlsConfig } from '@collectivekv/service-kit';
import { z } from 'zod';

/** Configuration of the ranking service. docs/configuration.md is written from it. */
export const rankingConfigSchema = z.object({
  ...commonConfig({ port: 50053 }),
  CKV_POOL_TARGET: z.string().min(1).default('127.0.0.1:50051').describe('gRPC target of the pool service'),
  ...bundleTrustConfig(),
  CKV_RECORD_READS: z
    .enum(['redis', 'user-cache'])
    .default('redis')
    .describe(
      'where records are read: from Redis itself, or through the user-cache if only that service may reach Redis',
    ),
  CKV_REDIS_URL: z
    .string()
    .min(1)
    .default('redis://127.0.0.1:6379')
    .describe("URL of the user-cache's Redis; read access is enough"),
  ...redisTlsConfig(),
  CKV_KEY_PREFIX: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, _, . and -')
    .default('ckv')
    .describe("prefix of every key in Redis; must be the user-cache's prefix, or no record is found"),
  CKV_USER_CACHE_TARGET: z
    .string()
    .min(1)
    .default('127.0.0.1:50052')
    .describe('gRPC target of the user-cache service; used if CKV_RECORD_READS is user-cache'),
  CKV_POOL_MODE: z
    .enum(['replica', 'remote'])
    .default('replica')
    .describe('replica: the rank graph contains the pool; remote: pool rows are gathered from the pool service'),
  CKV_PROVIDER: z.enum(['cpu', 'cuda', 'webgpu']).default('cpu').describe('execution provider of the graphs'),
  CKV_WORKERS: z.coerce.number().int().min(1).max(64).default(1).describe('worker threads that run graphs'),
  CKV_THREADS_PER_WORKER: z.coerce.number().int().min(1).max(64).default(1).describe('threads that one graph run uses'),
  CKV_PART_CANDIDATES: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .default(100)
    .describe('fewest candidates of a part if idle workers share a request; 0 never splits a request'),
  CKV_QUEUE_LIMIT: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(256)
    .describe('most requests that wait to be begun, and most graph runs that wait for a worker'),
  CKV_CACHE_DIR: z
    .string()
    .min(1)
    .default('.ckv/cache/ranking')
    .describe('folder for fetched bundles; needs room for two copies of each'),
  CKV_NEAR_CACHE_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(64 * 1024 * 1024)
    .describe('most memory for copies of records, which requests with max_staleness_ms may use; 0 keeps no copies'),
  CKV_NEAR_CACHE_MAX_AGE_MS: z.coerce
    .number()
    .int()
    .min(1_000)
    .max(3_600_000)
    .default(60_000)
    .describe(
      'greatest age of a copy of a record that is used, whatever max_staleness_ms allows: a deleted user may be ranked by a copy for this time',
    ),
  CKV_FETCH_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(1)
    .max(60_000)
    .default(250)
    .describe('longest wait for a record; after it the request is answered without history'),
});

/** Checked configuration. */
export type RankingConfig = z.infer<typeof rankingConfigSchema>;

/** Reads the configuration. Throws one error that lists every problem. */
export function loadConfig(env: NodeJS.ProcessEnv): Readonly<RankingConfig> {
  return parseConfig(rankingConfigSchema, env);
}
