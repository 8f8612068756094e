import { bundleTrustConfig, commonConfig, deviceConfig, parseConfig, shareConfig } from '@collectivekv/service-kit';
import { z } from 'zod';

/** Configuration of the pool service. docs/configuration.md is written from it. */
export const poolConfigSchema = z.object({
  ...commonConfig({ port: 50051 }),
  CKV_BUNDLES_DIR: z.string().min(1).default('bundles').describe('bundle folder, or folder of bundle folders'),
  ...bundleTrustConfig(),
  CKV_ACTIVE_BUNDLE: z
    .string()
    .default('')
    .describe(
      'id or name of the first active bundle; required if there are several bundles and none was activated before',
    ),
  CKV_STATE_DIR: z
    .string()
    .min(1)
    .default('.ckv/pool')
    .describe(
      'folder that keeps which bundle is active; replicas that share it follow each other; needs room for a copy of every bundle',
    ),
  CKV_MIN_COVERAGE: shareConfig({
    fallback: 0.95,
    means:
      'least share of rank requests that must find a warm record before a bundle with another encoding serves; 0 checks nothing',
  }),
  CKV_HEALTH_WINDOW_S: z.coerce
    .number()
    .int()
    .min(60)
    .max(604_800)
    .default(3_600)
    .describe('the health of a pool counts the positions of one to two windows of this length, seconds'),
  ...deviceConfig(),
  CKV_WORKERS: z.coerce.number().int().min(1).max(64).default(1).describe('worker threads that gather'),
  CKV_QUEUE_LIMIT: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(256)
    .describe('most gathers that wait for a worker'),
});

/** Checked configuration. */
export type PoolConfig = z.infer<typeof poolConfigSchema>;

/** Reads the configuration. Throws one error that lists every problem. */
export function loadConfig(env: NodeJS.ProcessEnv): Readonly<PoolConfig> {
  return parseConfig(poolConfigSchema, env);
}
