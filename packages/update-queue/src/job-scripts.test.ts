// A script for many jobs leaves the same contents in Redis as BullMQ's calls one by one.
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
// biome-ignore lint/style/noRestrictedImports: the test compares with BullMQ
import { type ConnectionOptions, type Job, type JobsOptions, Queue, Worker } from 'bullmq';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createJobScripts } from './job-scripts.js';
import { leaseKeys } from './queue-names.js';

const LOCK_MS = 60_000;
const TOKEN = 'token';
const TERM = { partition: 3, member: 'one', term: 7 };
const LEASE_KEYS = leaseKeys('p');

let redis: PrivateRedis;
let client: RedisClient;

beforeAll(async () => {
  redis = await startTemporaryRedis();
  client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(client);
  await redis.stop();
});

const JOBS: readonly JobsOptions[] = [
  {},
  { removeOnComplete: false },
  { priority: 3 },
  { lifo: true },
  { removeOnComplete: { count: 1 } },
  { removeOnComplete: { count: 1 } },
  { deduplication: { id: 'once', ttl: 1_000_000 } },
  { deduplication: { id: 'now' } },
  { delay: 1 },
  { delay: 1_000_000 },
  { priority: 1 },
  {},
];

/** Returns the contents of Redis after `work` on a queue of these jobs. */
async function after(work: (worker: Worker) => Promise<void>): Promise<Record<string, unknown>> {
  await client.flushall();
  await client.hset(LEASE_KEYS.leases, TERM.partition, `${TERM.member} 9999999999999`);
  await client.hset(LEASE_KEYS.terms, { [TERM.partition]: TERM.term, [`${TERM.partition}:opening`]: TOKEN });
  const connection = client as unknown as ConnectionOptions;
  const queue = new Queue('q', { connection, prefix: '{p}' });
  const own = { autorun: false, lockDuration: LOCK_MS, skipStalledCheck: true, removeOnComplete: { count: 0 } };
  const worker = new Worker('q', null, { connection, prefix: '{p}', ...own });
  for (const [i, opts] of JOBS.entries()) await queue.add('record', { i }, { ...opts, jobId: `job-${i}` });
  await (await queue.getJob('job-8'))?.promote();
  await work(worker);
  const left = await contents();
  await worker.close(true);
  await queue.close();
  return left;
}

async function takeOneByOne(worker: Worker): Promise<Job[]> {
  const taken: Job[] = [];
  for (let i = 0; i < JOBS.length; i++) {
    const job = await worker.getNextJob(TOKEN, { block: false });
    if (job) taken.push(job);
  }
  return taken;
}

/** Returns everything in Redis except times; of the stream of events, their fields. */
async function contents(): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const key of (await client.keys('*')).sort()) {
    const type = await client.type(key);
    if (type === 'string') found[key] = await client.get(key);
    if (type === 'list') found[key] = await client.lrange(key, 0, -1);
    if (type === 'zset') found[key] = (await client.zrange(key, '0', '-1')).sort();
    if (type === 'stream') {
      found[key] = (await client.xrange(key, '-', '+')).map(([, fields]) =>
        fields.filter((_, i) => fields[i - 1] !== 'delay'),
      );
    }
    if (type !== 'hash') continue;
    const { timestamp, processedOn, finishedOn, ...rest } = await client.hgetall(key);
    found[key] = { ...rest, times: [timestamp, processedOn, finishedOn].map((time) => time !== undefined) };
  }
  return found;
}

const scriptsOf = (worker: Worker) =>
  createJobScripts(client, worker, { token: TOKEN, lockMs: LOCK_MS, term: TERM, leaseKeys: LEASE_KEYS });
const keepOf = (id = '') => JOBS[Number(id.split('-')[1])]?.removeOnComplete;
/** Sorts jobs so that those with the same option are together. */
const alike = <T extends { id?: string | undefined }>(jobs: readonly T[]): T[] =>
  [...jobs].sort((a, b) => String(JSON.stringify(keepOf(a.id))).localeCompare(String(JSON.stringify(keepOf(b.id)))));

it("takes jobs as BullMQ's worker does, in the same order", async () => {
  let oneByOne: Job[] = [];
  const wanted = await after(async (worker) => {
    oneByOne = await takeOneByOne(worker);
  });
  const left = await after(async (worker) => {
    const { jobs, failure } = await scriptsOf(worker).take(JOBS.length);
    expect(failure).toBe('');
    expect(jobs.map(({ id }) => id)).toEqual(oneByOne.map(({ id }) => id));
    expect(jobs.map(({ fields }) => JSON.parse(fields.data ?? ''))).toEqual(oneByOne.map(({ data }) => data));
    expect(jobs.length).toBe(JOBS.length - 1); // one job is not due
  });
  expect(left).toEqual(wanted);
});

it("completes jobs as BullMQ's worker does, each kept as its own options say", async () => {
  const wanted = await after(async (worker) => {
    for (const job of alike(await takeOneByOne(worker))) await job.moveToCompleted(undefined, TOKEN, false);
  });
  const left = await after(async (worker) => {
    const { jobs } = await scriptsOf(worker).take(JOBS.length);
    const groups = new Map<string, string[]>();
    for (const { id } of alike(jobs)) {
      const key = String(JSON.stringify(keepOf(id)));
      groups.set(key, [...(groups.get(key) ?? []), id]);
    }
    for (const ids of groups.values()) expect(await scriptsOf(worker).complete(ids, keepOf(ids[0]))).toEqual(new Map());
  });
  expect(left).toEqual(wanted);
  expect(left['{p}:q:completed']).toEqual(['job-1', 'job-5']);
});

it('says which jobs could not be completed, and completes the others', async () => {
  await after(async (worker) => {
    const { jobs } = await scriptsOf(worker).take(3);
    const [first, second, third] = jobs.map(({ id }) => id);
    if (!first || !second || !third) throw new Error('nothing taken');
    await client.set(`{p}:q:${second}:lock`, 'another consumer');
    const failures = await scriptsOf(worker).complete([first, second, third, 'nobody'], undefined);
    expect([...failures]).toEqual([
      [second, -6],
      ['nobody', -1],
    ]);
    expect(await client.lrange('{p}:q:active', 0, -1)).toEqual([second]);
  });
});

it('leaves a job that fails among the active ones, says why, and takes the others', async () => {
  await after(async (worker) => {
    await client.rpush('{p}:q:wait', 'ghost');
    await client.set('{p}:q:ghost', 'a string');
    const { jobs, failure } = await scriptsOf(worker).take(3);
    expect(jobs.length).toBe(2);
    expect(failure).toMatch(/WRONGTYPE/);
    expect(await client.lrange('{p}:q:active', -1, -1)).toEqual(['ghost']);
  });
});
