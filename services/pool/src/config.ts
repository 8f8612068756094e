import { commonConfig, parseConfig } from '@collectivekv/service-kit';
import { z } from 'zod';

/** Configuration of the pool service; docs/configuration.md is checked against it. */
export const poolConfigSchema = z.object({
  ...commonConfig({ port: 50051 }),
  CKV_BUNDLES_DIR: z.string().min(1).default('bundles').describe('a bundle folder, or a folder of bundle folders'),
  CKV_ACTIVE_BUNDLE: z
    .string()
    .default('')
    .describe('id or name of the bundle to activate where none was activated before; needed when there are several'),
  CKV_STATE_DIR: z
    .string()
    .min(1)
    .default('.ckv/pool')
    .describe('folder that remembers which bundle is active; replicas that share it follow each other'),
  CKV_PROVIDER: z.enum(['cpu', 'cuda', 'webgpu']).default('cpu').describe('execution provider of the graphs'),
  CKV_WORKERS: z.coerce.number().int().min(1).max(64).default(1).describe('worker threads that gather'),
  CKV_QUEUE_LIMIT: z.coerce.number().int().min(1).max(100_000).default(256).describe('gathers that may wait'),
});

/** Checked configuration. */
export type PoolConfig = z.infer<typeof poolConfigSchema>;

/** Reads the configuration; every problem is reported at once. */
export function loadConfig(env: NodeJS.ProcessEnv): Readonly<PoolConfig> {
  return parseConfig(poolConfigSchema, env);
}
