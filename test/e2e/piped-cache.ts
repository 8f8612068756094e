import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServiceProcess, startServiceProcess } from '@collectivekv/dev-stack';
import { openTcpPipe, type PrivateRedis, startPrivateRedis, type TcpPipe } from '@collectivekv/private-redis';
import { vi } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

/** A stack whose updater reaches the first of two user-caches through a pipe. */
export interface PipedCache {
  readonly e2e: E2eStack;
  readonly pipe: TcpPipe;
  /** Returns how many calls of a method the user-cache behind the pipe has answered. */
  answeredCount(method: string): Promise<number>;
  /** Waits until the updater appends through the pipe. */
  untilUsed(): Promise<void>;
  close(): Promise<void>;
}

/** Starts the stack. */
export async function startPipedCache(): Promise<PipedCache> {
  const dir = await mkdtemp(join(tmpdir(), 'ckv-piped-'));
  const started: { stop(): Promise<void> }[] = [];
  const redis: PrivateRedis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
  started.push(redis);
  const start = async (i: number): Promise<ServiceProcess> => {
    const cache = await startServiceProcess({
      name: 'user-cache',
      logFile: join(dir, `user-cache-${i}.log`),
      env: { CKV_BIND: '127.0.0.1:0', CKV_REDIS_URL: redis.url },
    });
    started.push(cache);
    return cache;
  };
  const [piped, direct] = await Promise.all([start(0), start(1)]);
  const pipe = await openTcpPipe(Number(piped.address.split(':')[1]));
  const CKV_USER_CACHE_TARGET = `127.0.0.1:${pipe.port},${direct.address}`;
  const e2e = await startE2e({ redisUrl: redis.url, env: { updater: { CKV_USER_CACHE_TARGET } } });
  let warmCount = 0;

  async function answeredCount(method: string): Promise<number> {
    const text = await (await fetch(`http://${piped.metricsAddress}/metrics`)).text();
    const counts = text.matchAll(new RegExp(`^ckv_rpc_duration_seconds_count\\{.*${method}.*\\} (\\d+)$`, 'gm'));
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  return {
    e2e,
    pipe,
    answeredCount,
    async untilUsed() {
      const before = await answeredCount('AppendPositions');
      const used = async () => {
        await e2e.client.recordInteractions(interactionsOf('warm', 1, warmCount++));
        return (await answeredCount('AppendPositions')) > before;
      };
      await vi.waitUntil(used, { timeout: 30_000 });
    },
    async close() {
      await e2e.close();
      pipe.close();
      for (const one of started.reverse()) await one.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
