// The same store on a cluster, and on a primary that sentinels watch.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  askRedis,
  findRedis,
  freePort,
  type PrivateCluster,
  startPrivateCluster,
  startPrivateRedis,
} from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, primariesOf, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { watchErasures } from './erasures.js';
import { connectAsWriter, expectReadAccess, expectWriteAccess } from './record-access.contract.js';
import { createRecordKeys } from './record-keys.js';
import { redisNowMs } from './redis-now.contract.js';
import { createRedisUserStore } from './redis-user-store.js';
import { describeUserStore } from './user-store.contract.js';
import type { UserStore } from './user-store.js';

const keys = createRecordKeys('test');

const connect = (url: string) => connectedRedis(url, { field: 'url', name: 'test', whenAway: 'fail' }, 20_000);

describe('on a cluster', () => {
  let dir: string;
  let cluster: PrivateCluster;
  let client: RedisClient;
  let writer: RedisClient;
  let store: UserStore;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'ckv-cluster-'));
    cluster = await startPrivateCluster({ dir: join(dir, 'server'), dataDir: dir, nodeCount: 3 });
    client = await connect(cluster.url);
    writer = await connectAsWriter(client, cluster.url, 'test');
    store = createRedisUserStore({ client: writer, keyPrefix: 'test', recordTtlS: 1_000 });
  });
  afterAll(async () => {
    if (writer) closeRedis(writer);
    if (client) closeRedis(client);
    await cluster?.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    await Promise.all(primariesOf(client).map((primary) => primary.flushall()));
  });

  describeUserStore('user store in a Redis cluster', {
    store: () => store,
    plant: async (userId, id, bytes) => {
      await client.set(keys.record(userId, id), Buffer.from(bytes));
      await client.sadd(keys.encodings, id);
    },
    nowMs: () => redisNowMs(client),
  });

  it('needs no other right than its user has, and the user has no other', async () => {
    await expectWriteAccess(client, writer);
  });

  it('lets the Redis user of docs/configuration.md read records and do nothing else', async () => {
    closeRedis(await expectReadAccess(client, cluster.url));
  });

  it('tells of erasures, and that some may have been missed after the connection to a node broke', async () => {
    const watching = await connect(cluster.url);
    const heard: string[] = [];
    watchErasures({
      client: watching,
      keyPrefix: 'test',
      onErased: (userId) => heard.push(userId),
      onBegun: () => heard.push('begun'),
      onRefused: ({ message }) => heard.push(message),
    });
    await expect.poll(() => heard, { timeout: 10_000 }).toEqual(['begun']);
    await Promise.all(primariesOf(client).map((primary) => primary.call('CLIENT', 'KILL', 'TYPE', 'pubsub')));
    await expect.poll(() => heard, { timeout: 10_000 }).toEqual(['begun', 'begun']);
    for (const userId of ['a', 'b', 'c']) await store.deleteUser(userId); // on several nodes
    await expect.poll(() => heard.slice(2).sort(), { timeout: 10_000 }).toEqual(['a', 'b', 'c']);
    closeRedis(watching);
  });

  it('watches the next node for erasures if one hangs without closing its connections', async () => {
    const watching = await connect(cluster.url);
    const heard: string[] = [];
    watchErasures({
      client: watching,
      keyPrefix: 'test',
      onErased: (userId) => heard.push(userId),
      onBegun: () => heard.push('begun'),
      onRefused: ({ message }) => heard.push(message),
    });
    await expect.poll(() => heard, { timeout: 10_000 }).toEqual(['begun']);
    const counts = await Promise.all(
      cluster.nodes.map((node) => askRedis(Number(new URL(node.url).port), 'PUBSUB CHANNELS')),
    );
    const pid = cluster.nodes[counts.findIndex((reply) => reply.includes('erasures'))]?.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    await expect.poll(() => heard, { timeout: 30_000 }).toEqual(['begun', 'begun']);
    process.kill(pid, 'SIGCONT');
    closeRedis(watching);
  }, 60_000);

  it('fails at once while a node is away, without seconds of retries, until the node is back', async () => {
    const users = Array.from({ length: 20 }, (_, i) => `u${i}`); // on every node
    const open = createRedisUserStore({ client, keyPrefix: 'test', recordTtlS: 1_000 }); // a restart forgets the user
    /** Reads each user. Returns the causes of the failures, '' for a success. */
    async function outcomes(): Promise<string[]> {
      const reads = users.map((userId) => open.getRecords('0123456789abcdef', [userId]));
      const settled = await Promise.allSettled(reads);
      return settled.map((read) => (read.status === 'rejected' ? read.reason.cause.message : ''));
    }
    await cluster.nodes[0]?.kill();
    const down = expect.stringMatching(/^CLUSTERDOWN/); // the text after many tries begins otherwise
    await expect.poll(outcomes, { timeout: 20_000 }).toEqual(users.map(() => down));
    await cluster.restartNode(0);
    await expect.poll(outcomes, { timeout: 20_000 }).toEqual(users.map(() => ''));
  }, 60_000);
});

describe('behind a sentinel', () => {
  it('finds the primary and works on it', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'ckv-sentinel-'));
    const options = { dir: join(dir, 'server') };
    const primary = await startPrivateRedis({ ...options, dataDir: join(dir, 'primary') });
    const port = await freePort();
    const { path, env } = await findRedis(options);
    mkdirSync(join(dir, 'sentinel'));
    const config = join(dir, 'sentinel', 'sentinel.conf');
    const monitor = `sentinel monitor main 127.0.0.1 ${new URL(primary.url).port} 1`;
    writeFileSync(config, `port ${port}\nbind 127.0.0.1\ndir ${join(dir, 'sentinel')}\n${monitor}\n`);
    const sentinel = spawn(path, [config, '--sentinel'], { env: { ...process.env, ...env }, stdio: 'ignore' });
    const sentinelUrl = `redis+sentinel://127.0.0.1:${port}/main`;
    const client = await connect(sentinelUrl);
    const writer = await connectAsWriter(client, sentinelUrl, 'test');
    const store = createRedisUserStore({ client: writer, keyPrefix: 'test', recordTtlS: 1_000 });
    const shape = { encodingId: '0123456789abcdef', strideBytes: 1, maxPositions: 10 };
    const append = { userId: 'u', eventHashes: new Uint8Array(6), rows: Uint8Array.of(7), lastEventMs: 1 };
    expect(await store.appendPositions(shape, [append])).toMatchObject([{ appliedCount: 1 }]);
    expect(await store.stats('', 10)).toMatchObject({ recordCount: 1 });
    await expectWriteAccess(client, writer);
    closeRedis(writer);
    closeRedis(await expectReadAccess(client, sentinelUrl));
    closeRedis(client);
    sentinel.kill();
    await once(sentinel, 'exit');
    await primary.stop();
    rmSync(dir, { recursive: true, force: true });
  });
});
