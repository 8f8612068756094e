import { join } from 'node:path';
import { type ServiceProcess, startServiceProcess } from './service-process.js';
import type { Stack } from './stack.js';

/** Options of {@link startConsole}. */
export interface ConsoleOptions {
  /** Folder of all files that are written. */
  readonly dir: string;
  /** Variables of the console. They override those of the stack. */
  readonly env?: Readonly<Record<string, string>>;
  /** True: the console uses its usual port if this is free. Default: any free port. */
  readonly usualPort?: boolean;
  /** Ends the start when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

const USUAL = '127.0.0.1:50055';

/** Starts the console of a stack. Resolves when its page can be opened. */
export async function startConsole(
  { redisUrl, keyPrefix, targets, services }: Pick<Stack, 'redisUrl' | 'keyPrefix' | 'targets' | 'services'>,
  { dir, env, usualPort = false, signal }: ConsoleOptions,
): Promise<ServiceProcess> {
  const metrics = Object.values(services).flatMap((replicas) => replicas.map(({ metricsAddress }) => metricsAddress));
  const startAt = (bind: string) =>
    startServiceProcess({
      name: 'console',
      signal,
      logFile: join(dir, 'logs', 'console-0.log'),
      env: {
        CKV_BIND: bind,
        CKV_POOL_TARGET: targets.pool,
        CKV_USER_CACHE_TARGET: targets['user-cache'],
        CKV_RANKING_TARGET: targets.ranking,
        CKV_QUEUE_REDIS_URL: redisUrl,
        CKV_KEY_PREFIX: keyPrefix,
        CKV_CONSOLE_METRICS: metrics.join(','),
        ...env,
      },
    });
  const started = usualPort ? startAt(USUAL).catch(() => startAt('127.0.0.1:0')) : startAt('127.0.0.1:0');
  const console = await started;
  await console.untilReady();
  return console;
}
