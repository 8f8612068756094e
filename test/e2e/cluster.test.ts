// Records and queue in a Redis cluster.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PrivateCluster, startPrivateCluster } from '@collectivekv/private-redis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let dir: string;
let cluster: PrivateCluster;
let e2e: E2eStack;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-e2e-cluster-'));
  cluster = await startPrivateCluster({ dir: join(dir, 'server'), dataDir: dir, nodeCount: 3 });
  e2e = await startE2e({ redisUrl: cluster.url });
});
afterAll(async () => {
  await e2e?.close();
  await cluster?.stop();
  rmSync(dir, { recursive: true, force: true });
});

it('stores and serves the interactions of many users on all nodes', async () => {
  const users = Array.from({ length: 30 }, (_, i) => `spread-${i}`);
  for (const from of [0, 5]) {
    await e2e.client.recordInteractions(users.flatMap((userId) => interactionsOf(userId, 5, from)));
  }
  for (const userId of users) {
    const record = await e2e.untilApplied(userId, 10);
    await e2e.expectRows(record, interactionsOf(userId, 10));
  }
  const { info } = await e2e.client.rank({ userId: 'spread-3', candidateIds: ['i0001'] });
  expect(info).toMatchObject({ rung: 'full', positionCount: 10 });
  const stats = await e2e.userCache.call('Stats', { encodingId: '', maxRecords: 0 });
  expect(stats).toMatchObject({ recordCount: 30, positionCount: 300 });
});
