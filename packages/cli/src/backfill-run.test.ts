import { durationText, warmingText as textOf } from '@collectivekv/operations';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import {
  type EncodingClaim,
  isClaimed,
  openEncodingClaims,
  openWarmings,
  type Warming,
  type WarmingPhase,
  type WarmingPlan,
} from '@collectivekv/update-queue';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BackfillFiles } from './backfill-files.js';
import { requireIncomplete, runBackfill, startBackfill, untilSettled } from './backfill-run.js';

const partition = (phase: WarmingPhase, more = {}) => ({
  partition: 0,
  phase,
  sentCount: 0,
  appliedCount: 600,
  waitingCount: 0,
  lagMs: 0,
  ...more,
});
const warming = (...partitions: Warming['partitions']): Warming => ({
  encodingId: 'e',
  bundleId: 'b',
  source: 'files',
  digest: '',
  rowCount: 0,
  partitions,
});

it.each([
  [40, '40 s'],
  [119, '119 s'],
  [120, '2 min'],
  [7_199, '120 min'],
  [7_200, '2.0 h'],
  [12_600, '3.5 h'],
])('writes %i seconds as %s', (seconds, text) => {
  expect(durationText(seconds)).toBe(text);
});

it('tells how far a backfill is, in one line', () => {
  expect(textOf(warming(partition('live'), partition('live')))).toBe('partitions: 2 live; applied 1,200');
  const files = partition('files', { waitingCount: 1_500 });
  expect(textOf(warming(files, partition('log', { lagMs: 61_001 })))).toBe(
    'partitions: 1 files, 1 log; applied 1,200; 1,500 rows wait; event log 62 s behind',
  );
});

it('waits until the jobs that were there are applied, and then those that were in hand', async () => {
  const lefts = [[2, 0, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0], [], [], []];
  const asked: unknown[] = [];
  const messages: string[] = [];
  await untilSettled({
    warmings: {
      newestJobs: async () => [['newest']],
      jobsInHand: async () => [['in hand']],
      async leftUpTo(jobs) {
        asked.push(jobs[0]?.[0]);
        return lefts.shift() ?? [];
      },
    },
    onProgress: (message) => messages.push(message),
  });
  expect(asked).toEqual([...['newest', 'newest', 'newest', 'in hand', 'in hand'], 'newest', 'in hand']);
  expect(messages).toEqual([
    'waiting until 3 jobs of the queue are applied, in 2 partitions',
    'waiting until 1 jobs of the queue are applied, in 1 partitions',
    'waiting until 1 jobs of the queue are applied, in 1 partitions',
  ]);
});

describe('a backfill that is under way', () => {
  const ENCODING = '0123456789abcdef';
  let redis: PrivateRedis;
  let client: RedisClient;
  let claim: EncodingClaim;
  const warmings = () => openWarmings({ client, keyPrefix: 'ckv', partitionCount: 1 });
  beforeAll(async () => {
    redis = await startTemporaryRedis();
    client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  });
  beforeEach(async () => {
    await client.flushall();
    const taken = await openEncodingClaims(client, 'ckv').take(ENCODING, 'the test');
    if (!isClaimed(taken)) throw new Error('no claim');
    claim = taken;
  });
  afterEach(() => claim.leave());
  afterAll(async () => {
    closeRedis(client);
    await redis.stop();
  });

  const filesOf = (names: readonly string[], digest = names.join()): BackfillFiles => ({
    digest,
    rowCount: 0,
    names,
    fileDigests: names.map((name) => `digest of ${name}`),
    async *rows() {},
  });
  const run = (files: BackfillFiles | undefined, again = false) => {
    const parts = { warmings: warmings(), claim, bundleId: 'b', files, again, ratePerS: 1 };
    return runBackfill({ ...parts, dropRecords: async () => undefined, onProgress: () => undefined });
  };
  /** Leaves the encoding as a backfill does that has ended well. */
  const finish = async (plan: WarmingPlan) => {
    await warmings().begin(claim, plan);
    await client.hset('{ckv}:warming-0', `${ENCODING}:phase`, 'live');
    expect(await warmings().finish(claim)).toBe(true);
  };
  const planOf = ({ digest, fileDigests }: BackfillFiles) =>
    ({ bundleId: 'b', source: 'files', digest, rowCount: 0, fileDigests }) as const;

  it.each([
    ['other files', filesOf(['a', 'c']), '--log', /other files.*or files that have changed; name the same files/],
    ['fewer files', filesOf(['a']), '--log', /other files/],
    [
      'another order',
      filesOf(['b', 'a']),
      '--log',
      /in another order; name them in this order: a b; or run "ckv backfill/,
    ],
    ['other columns', filesOf(['a', 'b'], 'other'), '--columns', /give the same columns/],
    ['no files', undefined, '--from-redis-stream', /from files is under way; go on with its --log files/],
  ])('is not gone on with by %s, and says what is wrong', async (_, files, field, message) => {
    await warmings().begin(claim, planOf(filesOf(['a', 'b'])));
    const refused = { reason: 'invalid_request', field, message: expect.stringMatching(message) };
    await expect(run(files)).rejects.toMatchObject(refused);
  });

  it('has nothing to do if it had ended: its command was run again', async () => {
    await finish(planOf(filesOf(['a', 'b'])));
    expect(await run(filesOf(['a', 'b']))).toBeUndefined();
    expect(await warmings().all()).toEqual([]);
  });

  it.each([
    ['other files', () => run(filesOf(['c']))],
    ['the event log', () => run(undefined)],
    [
      'a new begin',
      () => startBackfill({ warmings: warmings(), claim, bundleId: 'b', again: false, onProgress: () => undefined }),
    ],
  ])('that has ended is not followed by one from %s unless the command says so', async (_, begin) => {
    await finish(planOf(filesOf(['a', 'b'])));
    await expect(begin()).rejects.toMatchObject({
      field: '--bundle',
      message: expect.stringMatching(/complete records .* --again deletes them/),
    });
    expect(await warmings().all()).toEqual([]);
    expect(await warmings().begin(claim, planOf(filesOf(['c'])), true)).toBe(true);
    expect(await warmings().finished(ENCODING)).toBeUndefined();
  });

  it.each([
    ['has ended', /complete records since a backfill that ended at 20.*--force deletes/, true, undefined],
    [
      'is live in all partitions',
      /complete records.*run "ckv backfill" again.*--force deletes/,
      false,
      [partition('live'), partition('live')],
    ],
    ['never was', /no backfill under way.*--force deletes/, false, undefined],
  ])('that %s is not cancelled unless the command says so', async (_, message, ended, partitions) => {
    if (ended) await finish(planOf(filesOf(['a'])));
    const backfill = partitions && warming(...partitions);
    const refused = { reason: 'invalid_request', field: '--bundle', message: expect.stringMatching(message) };
    await expect(requireIncomplete({ warmings: warmings(), encodingId: ENCODING, backfill })).rejects.toMatchObject(
      refused,
    );
  });

  it('that has to build records in a partition is cancelled', async () => {
    const backfill = warming(partition('live'), partition('log'));
    await requireIncomplete({ warmings: warmings(), encodingId: ENCODING, backfill });
  });

  it('that was cancelled may begin anew', async () => {
    await finish(planOf(filesOf(['a', 'b'])));
    await warmings().end(claim);
    expect(await warmings().begin(claim, planOf(filesOf(['a', 'b'])))).toBe(true);
  });

  it('from the event log is not gone on with by files, nor begun again', async () => {
    await warmings().begin(claim, { bundleId: 'b', source: 'log', digest: '', rowCount: 0 });
    await expect(run(filesOf(['a']))).rejects.toMatchObject({
      field: '--log',
      message: expect.stringMatching(/event log/),
    });
    const start = startBackfill({
      warmings: warmings(),
      claim,
      bundleId: 'b',
      again: false,
      onProgress: () => undefined,
    });
    await expect(start).rejects.toMatchObject({
      field: '--bundle',
      message: expect.stringMatching(/from the event log/),
    });
  });

  it('is behind by the entries of the event log that are not applied, and not at all without one', async () => {
    await warmings().begin(claim, { bundleId: 'b', source: 'log', digest: '', rowCount: 0 });
    await client.hset('{ckv}:warming-0', `${ENCODING}:phase`, 'log', `${ENCODING}:cursor`, '0-0');
    const lagMs = async () => (await warmings().all())[0]?.partitions[0]?.lagMs;
    expect(await lagMs()).toBe(0);
    for (const id of ['1000-0', '4000-0', '6000-0']) await client.xadd('{ckv}:event-log-0', id, 'user', 'u');
    expect(await lagMs()).toBe(5_000);
    await client.hset('{ckv}:warming-0', `${ENCODING}:cursor`, '1000-0');
    expect(await lagMs()).toBe(2_000);
    await client.hset('{ckv}:warming-0', `${ENCODING}:cursor`, '6000-0');
    expect(await lagMs()).toBe(0);
  });
});
