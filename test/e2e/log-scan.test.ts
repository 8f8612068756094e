// No log line and no metric holds a user id, an item, an event, a text or a number of a request, whatever goes wrong.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SERVICE_NAMES } from '@collectivekv/dev-stack';
import { createGrpcClient, errorFrom } from '@collectivekv/rpc';
import { openQueues, recordJobData } from '@collectivekv/update-queue';
import { Client, credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, foreignRecord, keyOf, startE2e, withQueue } from './e2e-stack.js';

/** Part of every id and word of this file. Nothing else has it. */
const MARK = 'zQ7xK';
/** A feature's value, in the form in which JSON writes it. */
const VALUE = 0.731_298_46;
const user = (name: string) => `user-${MARK}-${name}`;
const interactionOf = (userId: string, n: number) => ({
  eventId: `event-${MARK}-${userId}-${n}`,
  userId,
  itemId: n % 2 === 0 ? 'i0007' : `item-${MARK}-${n}`,
  timestampMs: 1_731_298_460_000 + n,
  action: `action-${MARK}`,
  features: { watch_ratio: VALUE, [`feature-${MARK}`]: VALUE },
});
const interactions = (userId: string, count: number) =>
  Array.from({ length: count }, (_, n) => interactionOf(userId, n));

let e2e: E2eStack;
beforeAll(async () => {
  const debug = { CKV_LOG_LEVEL: 'debug' };
  e2e = await startE2e({ env: Object.fromEntries(SERVICE_NAMES.map((name) => [name, debug])) });
});
afterAll(() => e2e?.close());

/** Returns the reason of a failure; empty if the call succeeds. */
const reasonOf = (call: Promise<unknown>) =>
  call.then(
    () => '',
    (error) => String(error.reason ?? error),
  );

/** Sends text in place of a message. Returns the reason of the refusal. */
function sendText(target: string, path: string, text: string): Promise<string> {
  const client = new Client(target, credentials.createInsecure());
  const asIs = (bytes: Buffer) => bytes;
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, asIs, asIs, Buffer.from(text), { deadline: Date.now() + 10_000 }, (error) => {
      client.close();
      resolve(error ? errorFrom(error).reason : '');
    });
  });
}

/** Every text under which the marked words and numbers could be in a log. */
function forms(recordBytes: Buffer): RegExp {
  const bytes = Buffer.from(MARK);
  const rows = recordBytes.subarray(-20);
  const parts = [
    MARK,
    bytes.toString('hex'),
    bytes.toString('base64').slice(0, 6), // whole only if it begins at a third byte, as below
    Buffer.from(`x${MARK}`).toString('base64').slice(2, 7),
    Buffer.from(`xx${MARK}`).toString('base64').slice(3, 8),
    [...bytes].join(','),
    String(VALUE).slice(0, 9), // the digits that a float32 keeps; fewer would be in some metric by chance
    '17312984',
    rows.toString('hex'),
    rows.toString('base64').slice(0, 20),
    [...rows.subarray(0, 8)].join(','),
  ];
  return new RegExp(parts.map((part) => part.replace(/[.+]/g, '\\$&')).join('|'), 'i');
}

it('keeps ids, words and numbers of its callers out of logs and metrics', async () => {
  const { client, userCache, pool, stack, bundle, dir } = e2e;
  const { encodingId } = bundle.model;
  const reasons: string[] = [];
  const refused = async (call: Promise<unknown>) => reasons.push(await reasonOf(call));

  // What works.
  await client.recordInteractions(interactions(user('a'), 20));
  const record = await e2e.untilApplied(user('a'), 20);
  const candidateIds = ['i0001', `item-${MARK}-candidate`];
  const rank = (userId: string) => ({
    userId,
    candidateIds,
    candidateFeatures: { freshness: [VALUE, VALUE] },
    recentInteractions: [interactionOf(userId, 99)],
    maxStalenessMs: 60_000,
  });
  await client.rank(rank(user('a')));
  await client.forgetInteraction(interactionOf(user('a'), 3));
  await client.recordInteractions(interactions(user('b'), 3));
  await e2e.untilApplied(user('b'), 3);
  await client.deleteUser(user('b'), { wait: true });
  await userCache.call('DeleteRecord', { userId: user('b') });

  // What is refused.
  const long = MARK.repeat(60);
  await refused(client.rank({ ...rank(long) }));
  await refused(client.rank({ ...rank(user('a')), candidateFeatures: { [`feature-${MARK}`]: [VALUE, VALUE] } }));
  await refused(client.rank({ ...rank(user('a')), candidateFeatures: { freshness: [100 * VALUE, VALUE] } }));
  await refused(client.rank({ ...rank(user('a')), contextFeatures: { [MARK]: VALUE } }));
  await refused(client.recordInteractions([{ ...interactionOf(user('a'), 1), eventId: long }]));
  await refused(client.recordInteractions([{ ...interactionOf(user('a'), 1), features: { [long]: VALUE } }]));
  const updater = createGrpcClient('InteractionService', stack.targets.updater);
  const ranking = createGrpcClient('RankingService', stack.targets.ranking);
  const unbounded = { ...interactionOf(user('a'), 1), features: { [`feature-${MARK}`]: Number.NaN } };
  await refused(updater.call('Record', { interactions: [unbounded] }));
  await refused(updater.call('Forget', { interaction: unbounded }));
  await refused(ranking.call('Rank', { userId: user('a'), candidateIds, recentInteractions: [unbounded] }));
  updater.close();
  ranking.close();
  await refused(userCache.call('GetRecords', { encodingId: MARK, userIds: [user('a')] }));
  await refused(
    userCache.call('DeletePosition', { encodingId, userId: user('nobody'), eventHash: Buffer.alloc(6, 1) }),
  );
  await refused(
    userCache.call('ReplaceRecord', { encodingId, userId: user('a'), record: Buffer.from(MARK.repeat(9)) }),
  );
  await refused(pool.call('Gather', { group: MARK, keySlots: Buffer.alloc(4) }));
  await refused(pool.call('Activate', { bundleId: MARK }));
  for (const [name, path] of [
    ['updater', 'InteractionService/Record'],
    ['ranking', 'RankingService/Rank'],
    ['user-cache', 'UserCacheService/GetRecords'],
    ['pool', 'PoolService/Gather'],
  ] as const) {
    reasons.push(await sendText(stack.targets[name], `/collectivekv.v1.${path}`, `${MARK}${MARK}`));
    // A valid interaction but for a feature without a number, which the refusal names.
    const features = Buffer.from(`\x32\x0c\x0a\x05${MARK}\x11`, 'latin1');
    reasons.push(await sendText(stack.targets[name], `/collectivekv.v1.${path}`, features.toString('latin1')));
  }
  expect(reasons).not.toContain('');
  expect(reasons).not.toContain('bug');

  // Jobs and records that cannot be used.
  await withQueue(e2e, async ({ inspection, redis }) => {
    const [queue] = openQueues(redis, 'ckv', 1);
    await queue?.add(`name-${MARK}`, { version: 1 }, { jobId: `job-${MARK}-1` });
    await queue?.add('record', { version: MARK }, { jobId: `job-${MARK}-2` });
    const bad = { ...interactionOf(user('c'), 1), features: { [`feature-${MARK}`]: MARK } };
    await queue?.add('record', { version: 1, interactions: [bad] }, { jobId: `job-${MARK}-3` });
    await queue?.add('forget', { version: 1, interaction: { userId: user('c') } }, { jobId: `job-${MARK}-4` });
    await redis.hset(`{ckv}:interactions-0:job-${MARK}-5`, { name: 'record', data: MARK, opts: MARK, atm: MARK });
    await redis.lpush('{ckv}:interactions-0:wait', `job-${MARK}-5`);
    await queue?.add('record', recordJobData(interactions(user('d'), 2)), { jobId: `job-${MARK}-6` });
    await redis.set(keyOf(bundle.model, user('e')), foreignRecord(bundle.model));
    await client.recordInteractions(interactions(user('e'), 3));
    await expect.poll(async () => (await inspection.failed(99)).length, { timeout: 30_000 }).toBeGreaterThanOrEqual(6);
    await queue?.close();

    for (const bytes of [Buffer.from(`CK${MARK}`), Buffer.alloc(90, MARK), foreignRecord(bundle.model)]) {
      await redis.set(keyOf(bundle.model, user('f')), bytes);
      await client.rank({ ...rank(user('f')), maxStalenessMs: 0 });
      await reasonOf(
        userCache.call('DeletePosition', { encodingId, userId: user('f'), eventHash: Buffer.alloc(6, 1) }),
      );
    }
    await redis.hset(keyOf(bundle.model, user('g')), 'not', 'a record');
    await client.rank(rank(user('g')));
    await client.recordInteractions(interactions(user('g'), 2));
    await e2e.untilApplied(user('g'), 2);
  });

  // Redis is away while all of it goes on.
  await stack.redis?.kill();
  const away = [
    reasonOf(client.rank(rank(user('h')))),
    reasonOf(client.rank({ ...rank(user('h')), history: 'required' })),
    reasonOf(client.recordInteractions(interactions(user('h'), 2))),
    reasonOf(userCache.call('GetRecords', { encodingId, userIds: [user('h')] })),
    reasonOf(userCache.call('DeleteRecord', { userId: user('h') })),
    reasonOf(userCache.call('Stats', { encodingId: '', maxRecords: 0 })),
  ];
  expect(await away[1]).toBe('dependency_unavailable');
  await stack.restartRedis();
  await Promise.all(away);
  await client.recordInteractions(interactions(user('i'), 2));
  await e2e.untilApplied(user('i'), 2);

  const found = forms(Buffer.from(record.rows));
  for (const name of SERVICE_NAMES) {
    const [service] = stack.services[name];
    const log = await readFile(join(dir, 'logs', `${name}-0.log`), 'utf8');
    const metrics = await fetch(`http://${service?.metricsAddress}/metrics`).then((response) => response.text());
    expect(log.split('\n').filter((line) => found.test(line))).toEqual([]);
    expect(metrics.split('\n').filter((line) => found.test(line))).toEqual([]);
    expect(log.length, `${name} logs at level debug`).toBeGreaterThan(200);
  }
}, 300_000);
