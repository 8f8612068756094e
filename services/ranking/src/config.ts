import {
  bundleTrustConfig,
  commonConfig,
  deviceConfig,
  optionalText,
  parseConfig,
  redisTlsConfig,
  shareConfig,
  targetConfig,
} from '@collectivekv/service-kit';
import { z } from 'zod';

/** Configuration of the ranking service. docs/configuration.md is written from it. */
export const rankingConfigSchema = z.object({
  ...commonConfig({ port: 50053 }),
  CKV_POOL_TARGET: targetConfig({ port: 50051, means: 'gRPC target of the pool service' }),
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
  CKV_USER_CACHE_TARGET: targetConfig({
    port: 50052,
    means: 'gRPC target of the user-cache service; used if CKV_RECORD_READS is user-cache',
  }),
  CKV_POOL_MODE: z
    .enum(['replica', 'remote'])
    .default('replica')
    .describe('replica: the rank graph contains the pool; remote: pool rows are gathered from the pool service'),
  ...deviceConfig(),
  CKV_WORKERS: z.coerce.number().int().min(1).max(64).default(1).describe('worker threads that run graphs'),
  CKV_THREADS_PER_WORKER: z.coerce.number().int().min(1).max(64).default(1).describe('threads that one graph run uses'),
  CKV_PART_CANDIDATES: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .default(100)
    .describe('fewest candidates of a part if idle workers share a request; 0 never splits a request'),
  CKV_BATCH_USERS: z
    .union([z.literal('auto'), z.coerce.number().int().min(1).max(64)], {
      error: 'must be auto, or a whole number from 1 to 64',
    })
    .default('auto')
    .describe(
      'most users that share a graph run while workers are busy, with bundles that have a graph for it; 1 gives each user a run of its own; auto is 64 on a GPU, and on the CPU 8 if that proves faster when the bundle is loaded, otherwise 1. On the CPU a high number makes requests slow',
    ),
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
  CKV_COVERAGE_RATE: z.coerce
    .number()
    .min(0.01)
    .max(1_000)
    .default(10)
    .describe('most requests a second whose users are looked up under the other announced encodings, for the coverage'),
  CKV_EXPLAIN_GRAPH: z
    .stringbool()
    .default(true)
    .describe(
      'true: loads the explain graph of bundles that have one, unless CKV_POOL_MODE is remote; false saves its memory, explanations then only have scores without single positions',
    ),
  CKV_FETCH_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(1)
    .max(60_000)
    .default(250)
    .describe('longest wait for a record; after it the request is answered without history'),
  CKV_CAPTURE_DIR: optionalText(
    'folder for captures: what requests with a capture_id depended on, which is user data; unset: nothing is captured',
  ),
  CKV_CAPTURE_KEY_FILE: optionalText(
    'file of the keys that encrypt captures, one a line of 64 hexadecimal characters: the first encrypts, the others open those of before; read again when it changes',
  ),
  CKV_CAPTURE_ALLOW_PLAIN: z
    .stringbool()
    .default(false)
    .describe('allow captures that are not encrypted, if there is no CKV_CAPTURE_KEY_FILE'),
  CKV_CAPTURE_TTL_S: z.coerce
    .number()
    .int()
    .min(60)
    .max(2_592_000)
    .default(86_400)
    .describe('a capture is removed after this time, seconds'),
  CKV_CAPTURE_MAX_COUNT: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe('most captures in the folder; further requests are answered and not captured'),
  CKV_CAPTURE_MAX_BYTES: z.coerce
    .number()
    .int()
    .min(1_048_576)
    .max(1_099_511_627_776)
    .default(1_073_741_824)
    .describe('most bytes of captures in the folder; further requests are answered and not captured'),
  CKV_AUDIT_SHARE: shareConfig({
    fallback: 0,
    means: 'share of the answers whose scores are computed again by another path, after they were sent; 0 audits none',
  }),
  CKV_AUDIT_MAX_PER_S: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(1)
    .describe('most answers that are audited in a second'),
  CKV_AUDIT_TOLERANCE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(1e-4)
    .describe('largest difference of a score that counts as rounding'),
  CKV_SHADOW_BUNDLE: z
    .string()
    .regex(/^([0-9a-f]{16})?$/, 'must be the 16 hexadecimal characters of a bundle')
    .default('')
    .describe(
      'id of a bundle that answers the audited requests too, for comparison: nobody gets its answers; needs CKV_AUDIT_SHARE; unset: the candidate bundle, if the pool announces one',
    ),
});

/** Checked configuration. */
export type RankingConfig = z.infer<typeof rankingConfigSchema>;

/** Reads the configuration. Throws one error that lists every problem. */
export function loadConfig(env: NodeJS.ProcessEnv): Readonly<RankingConfig> {
  return parseConfig(rankingConfigSchema, env);
}
