import { commonConfig, optionalText, parseConfig, redisTlsConfig, targetConfig } from '@collectivekv/service-kit';
import { DEFAULT_PARTITION_COUNT, MAX_PARTITION_COUNT } from '@collectivekv/update-queue';
import { z } from 'zod';
import { parseMetricsTargets } from './fleet/targets.js';

const common = commonConfig({ port: 50055 });

/** Configuration of the console. docs/configuration.md is written from it. */
export const consoleConfigSchema = z.object({
  ...common,
  CKV_BIND: common.CKV_BIND.describe(
    'address of the page: HTTP, or HTTPS with a certificate; port 0 takes a free port',
  ),
  CKV_POOL_TARGET: targetConfig({ port: 50051, means: 'gRPC target of the pool service' }),
  CKV_USER_CACHE_TARGET: targetConfig({ port: 50052, means: 'gRPC target of the user-cache service' }),
  CKV_RANKING_TARGET: targetConfig({ port: 50053, means: 'gRPC target of the ranking service' }),
  CKV_QUEUE_REDIS_URL: optionalText(
    'Redis of the interaction queue; unset: the page of the queue is empty, and no bundle of another encoding can be activated',
  ),
  ...redisTlsConfig(),
  CKV_KEY_PREFIX: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, _, . and -')
    .default('ckv')
    .describe("begins every key in Redis; the updaters' value"),
  CKV_PARTITIONS: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_PARTITION_COUNT)
    .default(DEFAULT_PARTITION_COUNT)
    .describe("partitions of the queue; the updaters' value"),
  CKV_CONSOLE_METRICS: z
    .string()
    .superRefine((text, context) => {
      const { problem } = parseMetricsTargets(text);
      if (problem) context.addIssue({ code: 'custom', message: problem });
    })
    .default('')
    .describe(
      'addresses of /metrics of the services, with commas between them: host:port, each name with all its addresses; unset: the page of the fleet is empty',
    ),
  CKV_CONSOLE_LOOK_EVERY_S: z.coerce
    .number()
    .int()
    .min(1)
    .max(60)
    .default(5)
    .describe('time between two looks at the metrics, seconds; the page shows the last 360 looks'),
  CKV_CONSOLE_WRITES: z
    .stringbool()
    .default(false)
    .describe('allow changes from the page: switch bundles, retry jobs; each needs a token of the role admin'),
});

/** Checked configuration. */
export type ConsoleConfig = z.infer<typeof consoleConfigSchema>;

/** Reads the configuration. Throws one error that lists every problem. */
export function loadConfig(env: NodeJS.ProcessEnv): Readonly<ConsoleConfig> {
  return parseConfig(consoleConfigSchema, env);
}
