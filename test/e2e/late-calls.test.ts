// A call to the user-cache fails for the updater and reaches Redis all the same, after its retry and newer events.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServiceProcess, startServiceProcess } from '@collectivekv/dev-stack';
import { openTcpPipe, type PrivateRedis, startPrivateRedis, type TcpPipe } from '@collectivekv/private-redis';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let dir: string;
let redis: PrivateRedis;
/** Two user-caches: the updater reaches the first through the pipe. */
let caches: ServiceProcess[];
let pipe: TcpPipe;
let e2e: E2eStack;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-late-'));
  redis = await startPrivateRedis({ dir: join(dir, 'server'), dataDir: join(dir, 'redis') });
  const start = (i: number) =>
    startServiceProcess({
      name: 'user-cache',
      logFile: join(dir, `user-cache-${i}.log`),
      env: { CKV_BIND: '127.0.0.1:0', CKV_REDIS_URL: redis.url },
    });
  caches = await Promise.all([start(0), start(1)]);
  pipe = await openTcpPipe(Number(caches[0]?.address.split(':')[1]));
  const CKV_USER_CACHE_TARGET = `127.0.0.1:${pipe.port},${caches[1]?.address}`;
  e2e = await startE2e({ redisUrl: redis.url, env: { updater: { CKV_USER_CACHE_TARGET } } });
});
afterAll(async () => {
  await e2e?.close();
  pipe?.close();
  await Promise.all((caches ?? []).map((cache) => cache.stop()));
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Returns how many appends the user-cache behind the pipe has answered. */
async function answeredCount(): Promise<number> {
  const text = await (await fetch(`http://${caches[0]?.metricsAddress}/metrics`)).text();
  const counts = text.matchAll(/^ckv_rpc_duration_seconds_count\{.*AppendPositions.*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

it('applies every interaction once', async () => {
  await vi.waitUntil(
    async () => {
      await e2e.client.recordInteractions(interactionsOf('warm', 1));
      return (await answeredCount()) > 0;
    },
    { timeout: 20_000 },
  );
  pipe.hold();
  const before = await answeredCount();
  await e2e.client.recordInteractions(interactionsOf('u', 100));
  await vi.waitUntil(() => pipe.heldBytes() > 300, { timeout: 20_000 });
  pipe.cutClients();
  await e2e.untilApplied('u', 100);
  pipe.release();
  await vi.waitUntil(async () => (await answeredCount()) > before, { timeout: 20_000 });
  const record = await e2e.untilApplied('u', 100);
  expect(record.lifetimeCount).toBe(100);
  await e2e.expectRows(record, interactionsOf('u', 100));
}, 120_000);
