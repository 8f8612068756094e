import { commonConfig, parseConfig, redisTlsConfig } from '@collectivekv/service-kit';
import { z } from 'zod';

/** Configuration of the user-cache service; docs/configuration.md is checked against it. */
export const userCacheConfigSchema = z.object({
  ...commonConfig({ port: 50052 }),
  CKV_REDIS_URL: z
    .string()
    .min(1)
    .default('redis://127.0.0.1:6379')
    .describe('Redis of the user records: redis://, rediss://, redis+cluster:// or redis+sentinel://'),
  ...redisTlsConfig(),
  CKV_CONFIRM_REPLICAS: z.coerce
    .number()
    .int()
    .min(0)
    .max(10)
    .default(0)
    .describe('replicas of Redis that must have an append before the call is answered; 0 waits for none'),
  CKV_KEY_PREFIX: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, _, . and -')
    .default('ckv')
    .describe('begins every key in Redis'),
  CKV_RECORD_TTL_S: z.coerce
    .number()
    .int()
    .min(60)
    .max(10 * 365 * 86_400)
    .default(90 * 86_400)
    .describe('a record expires after this time without an append, seconds'),
});

/** Checked configuration. */
export type UserCacheConfig = z.infer<typeof userCacheConfigSchema>;

/** Reads the configuration. Reports every problem at once. */
export function loadConfig(env: NodeJS.ProcessEnv): Readonly<UserCacheConfig> {
  return parseConfig(userCacheConfigSchema, env);
}
