// A primary and its replica, and a cluster, all real. Replicas are stopped by SIGSTOP.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type PrivateCluster,
  type PrivateRedis,
  startPrivateCluster,
  startTemporaryRedis,
} from '@collectivekv/private-redis';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { closeRedis, connectedRedis, type RedisClient } from './connect-redis.js';
import { reachingRedis } from './redis-error.js';

const UNCONFIRMED = { reason: 'dependency_unavailable', message: expect.stringContaining('0 of 1 replicas confirmed') };
const NO_DELAY = ['--repl-diskless-sync-delay', '0'];

const stopped = new Set<PrivateRedis>();
function stop(server: PrivateRedis): void {
  stopped.add(server);
  process.kill(server.pid, 'SIGSTOP');
}
afterEach(() => {
  for (const { pid } of stopped) process.kill(pid, 'SIGCONT');
  stopped.clear();
});

const connect = (url: string) =>
  connectedRedis(url, { field: 'url', name: 'test', whenAway: 'fail', confirmReplicas: 1 });

describe('one server and its replica', () => {
  let primary: PrivateRedis;
  let replica: PrivateRedis;
  let client: RedisClient;
  beforeAll(async () => {
    primary = await startTemporaryRedis({ args: NO_DELAY });
    replica = await startTemporaryRedis({ args: ['--replicaof', '127.0.0.1', String(primary.port)] });
    client = await connect(primary.url);
    await vi.waitUntil(() => client.set('probe', 1).then(Boolean, () => false), { timeout: 60_000 });
  }, 60_000);
  afterAll(async () => {
    if (client) closeRedis(client);
    await Promise.all([replica?.stop(), primary?.stop()]);
  });

  const waitCount = async () => Number(/cmdstat_wait:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);

  it('answers writes that the replica has, all of a turn with one WAIT', async () => {
    const before = await waitCount();
    const writes = Array.from({ length: 100 }, (_, i) => client.set(`many-${i}`, i));
    expect(await Promise.all([...writes, client.get('many-99')])).toEqual([...writes.map(() => 'OK'), '99']);
    expect((await waitCount()) - before).toBe(1);
  });

  const writes: Record<string, () => Promise<unknown>> = {
    'a command': () => client.set('key', 'one'),
    'a script': () => client.eval('return redis.call("INCR", KEYS[1])', 1, 'counter'),
    'a transaction': () => resultsOf(client.multi().incr('counter').incr('counter')),
    'a pipeline': () => resultsOf(client.pipeline().incr('counter').get('counter')),
  };
  it.each(Object.entries(writes))(
    'fails %s that the replica lacks, and answers it when it is back',
    async (_, write) => {
      stop(replica);
      await expect(write()).rejects.toMatchObject(UNCONFIRMED);
      process.kill(replica.pid, 'SIGCONT');
      await vi.waitUntil(() => write().then(Boolean, () => false), { timeout: 60_000 });
    },
  );

  it('answers reads while the replica is silent', async () => {
    await client.set('key', 'value');
    stop(replica);
    expect(await client.get('key')).toBe('value');
  });

  it('fails a write whose connection closes before the replica has it', async () => {
    stop(replica);
    const failed = expect(client.set('key', 'other')).rejects.toThrow(); // it may fail before its killer is back
    await vi.waitUntil(() => killed(primary));
    await failed;
    await vi.waitUntil(() => client.status === 'ready', { timeout: 60_000 });
  });

  it('is unconfirmed by a server that has become a replica, which says nothing about the command', async () => {
    const lateClient = await connect(replica.url);
    try {
      const answer = reachingRedis(() => lateClient.eval('return 1', 0));
      await expect(answer).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    } finally {
      closeRedis(lateClient);
    }
  });

  /** Closes the connection that waits. Returns false if none does yet. */
  async function killed({ url }: PrivateRedis): Promise<boolean> {
    const other = await connectedRedis(url, { field: 'url', name: 'other', whenAway: 'fail' });
    try {
      const list = (await other.client('LIST')) as string;
      const waiting = list.split('\n').find((line) => line.includes('cmd=wait'));
      const id = /\bid=(\d+)/.exec(waiting ?? '')?.[1];
      if (!id) return false;
      await other.client('KILL', 'ID', Number(id));
      return true;
    } finally {
      closeRedis(other);
    }
  }
});

describe('a cluster', () => {
  let dir: string;
  let cluster: PrivateCluster;
  let client: RedisClient;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'ckv-confirm-'));
    const args = [...NO_DELAY, '--cluster-node-timeout', '60000'];
    cluster = await startPrivateCluster({ dir: join(dir, 'server'), dataDir: dir, nodeCount: 3, replicas: true, args });
    client = await connect(cluster.url);
  }, 120_000);
  afterAll(async () => {
    if (client) closeRedis(client);
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('asks the replicas of the server that has the key', async () => {
    const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const write = async () => Promise.allSettled(keys.map((key) => client.set(key, 1)));
    await vi.waitUntil(async () => (await write()).every(({ status }) => status === 'fulfilled'), { timeout: 60_000 });
    stop(cluster.nodes[3] as PrivateRedis); // follows the first primary
    const outcomes = await write();
    const failed = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.length).toBeLessThan(keys.length);
    for (const reason of failed) expect(reason).toMatchObject(UNCONFIRMED);
  });
});

/** Returns the answers of a pipeline or transaction. Throws the first failure. */
async function resultsOf(commands: ReturnType<RedisClient['multi']>): Promise<unknown[]> {
  const answers = (await commands.exec()) ?? [];
  return answers.map(([error, answer]) => {
    if (error) throw error;
    return answer;
  });
}
