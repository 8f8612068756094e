import { type Interaction, partitionOf } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type EncodingClaim, isClaimed, openEncodingClaims } from './encoding-claims.js';
import type { PartitionQueue } from './partition-queue.js';
import { interactionOf, PARTITION, PARTITION_COUNT, useQueue } from './queue.fixture.js';
import type { WarmingBatch, WarmingWave } from './warming-feed.js';
import { MAX_WARMINGS, openWarmings, type WarmingPlan, warmingVersion } from './warmings.js';

const queue = useQueue();
const ENCODING = '0123456789abcdef';
const LOG = `{ckv}:event-log-${PARTITION}`;
const FILES: WarmingPlan = { bundleId: 'b', source: 'files', digest: 'd', rowCount: 9 };
const FROM_LOG: WarmingPlan = { ...FILES, source: 'log', digest: '', rowCount: 0 };
/** Another user of the partition of `u`. */
const w = Array.from({ length: 99 }, (_, i) => `w${i}`).find(
  (userId) => partitionOf(userId, PARTITION_COUNT) === PARTITION,
) as string;
/** A user of another partition. */
const far = Array.from({ length: 99 }, (_, i) => `f${i}`).find(
  (userId) => partitionOf(userId, PARTITION_COUNT) !== PARTITION,
) as string;

const warmings = () => openWarmings({ client: queue.operator(), keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
let claim: EncodingClaim;
async function claimOf(encodingId: string): Promise<EncodingClaim> {
  const taken = await openEncodingClaims(queue.operator(), 'ckv').take(encodingId, 'the test');
  if (!isClaimed(taken)) throw new Error(`held by ${taken.holder}`);
  return taken;
}
beforeEach(async () => {
  claim = await claimOf(ENCODING);
});
afterEach(() => claim.leave());
const rowsOf = (...events: (readonly [string, number])[]): Interaction[] =>
  events.map(([userId, n]) => interactionOf(n, userId));
const namesIn = ({ events }: WarmingWave) =>
  events.map(({ interaction: { userId, eventId } }) => `${userId} ${eventId}`);
const namesOf = ({ waves }: WarmingBatch) => waves.flatMap(namesIn);
async function complete(consumer: PartitionQueue, batch: WarmingBatch): Promise<void> {
  for (const wave of batch.waves) await consumer.warming.complete(batch, wave);
}
const phases = async () => (await warmings().all()).map(({ partitions }) => partitions[PARTITION]?.phase);

/** Arms the partition of `u`, and pretends that the updaters of the other partitions did the same. */
async function arm(consumer: PartitionQueue): Promise<void> {
  await consumer.warming.arm(true, [ENCODING]);
  for (let partition = 0; partition < PARTITION_COUNT; partition++) {
    if (partition !== PARTITION) await queue.client().hset(`{ckv}:warming-${partition}`, `${ENCODING}:phase`, 'armed');
  }
}

/** Begins a warming, and opens it. */
async function begin(plan = FILES): Promise<PartitionQueue> {
  const consumer = await queue.consume();
  expect(await warmings().begin(claim, plan)).toBe(true);
  await arm(consumer);
  expect(await warmings().open(claim)).toBe(0);
  return consumer;
}

async function read(consumer: PartitionQueue, maxCount = 100): Promise<WarmingBatch> {
  const batch = await consumer.warming.read(ENCODING, maxCount);
  if (!batch) throw new Error('nothing is being warmed');
  return batch;
}

/** Applies all that is there: each batch, and the phases after it. Returns what was to be applied, in order. */
async function applyAll(consumer: PartitionQueue): Promise<string[]> {
  const applied: string[] = [];
  for (;;) {
    const batch = await consumer.warming.read(ENCODING, 2);
    if (!batch) return applied;
    applied.push(...namesOf(batch));
    if (batch.entryCount > 0) await complete(consumer, batch);
    else {
      await consumer.warming.nextPhase(batch);
      if ((await consumer.warming.read(ENCODING, 2))?.phase === batch.phase) return applied;
    }
  }
}

describe('an encoding that is being warmed', () => {
  it('gets the rows of its files first, then what was logged meanwhile, and is live', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 4], ['u', 5]));
    await warmings().send(claim, rowsOf(['u', 1], [w, 1], [far, 1], ['u', 2]), 0, false);
    expect(await applyAll(consumer)).toEqual(['u e1', `${w} e1`, 'u e2']);
    expect(await phases()).toEqual(['files']);
    await warmings().send(claim, rowsOf(['u', 3]), 4, true);
    await consumer.log(rowsOf([w, 2]));
    expect(consumer.warming.pending()).toEqual(new Set([ENCODING]));
    expect(await applyAll(consumer)).toEqual(['u e3', 'u e4', 'u e5', `${w} e2`]);
    expect(await phases()).toEqual(['live']);
    expect(consumer.warming.pending()).toEqual(new Set());
    const [warming] = await warmings().all();
    expect(warming).toMatchObject({ ...FILES, encodingId: ENCODING });
    expect(warming?.partitions[PARTITION]).toMatchObject({ sentCount: 5, appliedCount: 7, waitingCount: 0 });
  });

  it('gets nothing before it is open, and is not open before every partition is armed', async () => {
    const consumer = await queue.consume();
    await warmings().begin(claim, FILES);
    expect(await consumer.warming.arm(false, [ENCODING])).toMatchObject({ begun: true });
    expect(await phases()).toEqual(['begun']);
    expect(await warmings().open(claim)).toBe(PARTITION_COUNT);
    expect(await consumer.warming.arm(true, [ENCODING])).toMatchObject({ begun: false });
    expect(await phases()).toEqual(['armed']);
    expect(await warmings().open(claim)).toBe(PARTITION_COUNT - 1);
    await consumer.log(rowsOf(['u', 1]));
    expect(await consumer.warming.read(ENCODING, 9)).toBeUndefined();
    await expect(warmings().send(claim, rowsOf(['u', 1]), 0, false)).rejects.toMatchObject({ reason: 'conflict' });
  });

  it('is refused with fewer partitions than the updaters have: the others would be left out', async () => {
    await begin();
    const fewer = openWarmings({ client: queue.operator(), keyPrefix: 'ckv', partitionCount: PARTITION_COUNT - 1 });
    const refused = {
      reason: 'invalid_request',
      message: expect.stringMatching(/^CKV_PARTITIONS: .*more partitions.*set it/),
    };
    await expect(fewer.begin(claim, FILES)).rejects.toMatchObject(refused);
    await expect(fewer.open(claim)).rejects.toMatchObject(refused);
  });

  it('tells every updater by its version', async () => {
    const version = () => warmingVersion(queue.service(), 'ckv');
    const versions = [await version()];
    const consumer = await begin();
    versions.push(await version());
    await warmings().end(claim);
    versions.push(await version());
    expect(new Set(versions).size).toBe(3);
    expect((await consumer.warming.arm(true, [ENCODING])).version).toBe(versions[2]);
    expect(consumer.warming.pending()).toEqual(new Set());
  });

  it('leaves out what files have from the first logged interaction of a user on', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 3]));
    await consumer.log(rowsOf(['u', 4], [w, 9]));
    const rows = rowsOf(['u', 1], [w, 1], ['u', 2], ['u', 3], [w, 2], ['u', 4], ['u', 5]);
    await warmings().send(claim, rows, 0, true);
    expect(await applyAll(consumer)).toEqual([
      ...['u e1', `${w} e1`, 'u e2', `${w} e2`],
      ...['u e3', 'u e4', `${w} e9`],
    ]);
  });

  it('takes a repeated interaction for no sign that the log has all later ones', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 2]), new Set(['u']));
    await consumer.log(rowsOf(['u', 4]));
    await warmings().send(claim, rowsOf(['u', 1], ['u', 2], ['u', 3], ['u', 4]), 0, true);
    expect(await applyAll(consumer)).toEqual(['u e1', 'u e2', 'u e3', 'u e2', 'u e4']);
  });

  it('is cut into waves of at most 14 interactions of a user, and reads on behind the last one that is done', async () => {
    const consumer = await begin();
    const events = Array.from({ length: 20 }, (_, i): [string, number] => ['u', i]);
    await warmings().send(claim, rowsOf([w, 1], ...events, [w, 2]), 0, false);
    const batch = await read(consumer);
    const names = events.map(([, n]) => `u e${n}`);
    const expected = [
      [`${w} e1`, ...names.slice(0, 14)],
      [...names.slice(14), `${w} e2`],
    ];
    expect(batch.waves.map(namesIn)).toEqual(expected);
    const [first] = batch.waves;
    if (first) await consumer.warming.complete(batch, first);
    await warmings().send(claim, rowsOf(['u', 99]), 22, false);
    const next = await queue.consume('two');
    await next.warming.arm(true, [ENCODING]);
    expect(namesOf(await read(next))).toEqual([...(expected[1] ?? []), 'u e99']);
  });

  it('has at most 14 interactions of a user that may come again, also if one was forgotten meanwhile', async () => {
    const consumer = await begin();
    const events = Array.from({ length: 30 }, (_, i): [string, number] => ['u', i]);
    await warmings().send(claim, rowsOf(...events), 0, false);
    const batch = await read(consumer);
    const [first] = batch.waves;
    if (first) await consumer.warming.complete(batch, first);
    await consumer.erase({ userId: 'u', eventId: 'e3' }, PARTITION_COUNT, async () => undefined);
    await consumer.erase({ userId: 'u', eventId: 'e15' }, PARTITION_COUNT, async () => undefined);
    const [again] = (await read(consumer)).waves;
    expect(again && namesIn(again)).toEqual(['u e14', ...events.slice(16, 29).map(([, n]) => `u e${n}`)]);
  });

  it('ends the files of a user with the wave that has the cut', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 20]));
    const events = Array.from({ length: 22 }, (_, i): [string, number] => ['u', i]);
    await warmings().send(claim, rowsOf(...events), 0, true);
    const batch = await read(consumer);
    expect(batch.waves.map(({ cutUsers }) => cutUsers)).toEqual([[], ['u']]);
    const [first] = batch.waves;
    if (first) await consumer.warming.complete(batch, first);
    expect(namesOf(await read(consumer))).toEqual(events.slice(14, 20).map(([, n]) => `u e${n}`));
    await complete(consumer, await read(consumer));
    expect(await applyAll(consumer)).toEqual(['u e20']);
  });

  it('keeps the rows before a cut of a batch that comes again', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 3]));
    await warmings().send(claim, rowsOf(['u', 1], ['u', 2], ['u', 3], ['u', 4]), 0, true);
    for (let tries = 0; tries < 2; tries++) expect(namesOf(await read(consumer))).toEqual(['u e1', 'u e2']);
    await complete(consumer, await read(consumer));
    expect(await applyAll(consumer)).toEqual(['u e3']);
  });

  it('is not live while an entry is left, and its files do not end before the last row', async () => {
    const consumer = await begin();
    const files = await read(consumer);
    await consumer.warming.nextPhase(files);
    expect(await phases()).toEqual(['files']);
    await warmings().send(claim, [], 0, true);
    await consumer.warming.nextPhase(files);
    const log = await read(consumer);
    expect(log).toMatchObject({ phase: 'log', entryCount: 0 });
    await consumer.log(rowsOf(['u', 1]));
    await consumer.warming.nextPhase(log);
    expect(await phases()).toEqual(['log']);
  });

  it('gets the whole event log without files', async () => {
    const consumer = await queue.consume('one', { ageMs: 3_600_000, maxEvents: 100 });
    await consumer.log(rowsOf(['u', 1], ['u', 2]));
    await warmings().begin(claim, FROM_LOG);
    await arm(consumer);
    await warmings().open(claim);
    await consumer.log(rowsOf(['u', 3]));
    expect(await applyAll(consumer)).toEqual(['u e1', 'u e2', 'u e3']);
    expect(await phases()).toEqual(['live']);
  });

  it('keeps the event log while it needs it, though it has no age, and no longer', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 1]));
    expect(await consumer.trimLog()).toBe(1);
    await warmings().send(claim, [], 0, true);
    await applyAll(consumer);
    await consumer.log(rowsOf(['u', 2]));
    expect(await consumer.trimLog()).toBe(0);
    expect(await queue.client().exists(LOG)).toBe(0);
  });

  it('goes back to the event log in a partition whose updater cannot write it, and lacks nothing', async () => {
    const consumer = await queue.consume('one', { ageMs: 3_600_000, maxEvents: 100 });
    await warmings().begin(claim, FILES);
    await arm(consumer);
    await warmings().open(claim);
    await consumer.log(rowsOf(['u', 1]));
    await warmings().send(claim, [], 0, true);
    expect(await applyAll(consumer)).toEqual(['u e1']);
    await consumer.log(rowsOf(['u', 2])); // was appended directly
    expect(await phases()).toEqual(['live']);

    const next = await queue.consume('two', { ageMs: 3_600_000, maxEvents: 100 });
    await next.warming.arm(true, ['fedcba9876543210']);
    expect([next.warming.pending(), await phases()]).toEqual([new Set([ENCODING]), ['log']]);
    expect(await warmings().finish(claim)).toBe(false);
    await next.log(rowsOf(['u', 3]));
    await next.warming.arm(true, [ENCODING]);
    expect(await applyAll(next)).toEqual(['u e3']);
    expect(await phases()).toEqual(['live']);
  });

  it('is overrun if the event log drops what it has not got, and then gets nothing', async () => {
    const consumer = await begin();
    const small = await queue.consume('two', { ageMs: 0, maxEvents: 2 });
    await small.warming.arm(true, [ENCODING]);
    await small.log(rowsOf(['u', 1], ['u', 2]));
    expect(await phases()).toEqual(['files']);
    await small.log(rowsOf(['u', 3]));
    expect(await phases()).toEqual(['overrun']);
    expect(await small.warming.read(ENCODING, 9)).toBeUndefined();
    await small.warming.arm(true, [ENCODING]);
    expect(small.warming.pending()).toEqual(new Set([ENCODING]));
    await expect(consumer.warming.arm(true, [ENCODING])).rejects.toMatchObject({ reason: 'conflict' });
  });

  it('is moved on by the holder of the lease alone', async () => {
    const late = await begin();
    await warmings().send(claim, rowsOf(['u', 1]), 0, true);
    const batch = await read(late);
    const holder = await queue.consume('two');
    await holder.warming.arm(true, [ENCODING]);
    for (const call of [
      () => late.warming.arm(true, [ENCODING]),
      () => complete(late, batch),
      () => late.warming.nextPhase(batch),
      () => late.warming.erase({ userId: 'u' }),
    ]) {
      await expect(call()).rejects.toMatchObject({ reason: 'conflict' });
    }
    expect(namesOf(await read(holder))).toEqual(['u e1']);
  });

  it('is not moved on by a batch of a warming that has ended', async () => {
    const consumer = await begin();
    await warmings().send(claim, rowsOf(['u', 1]), 0, true);
    const batch = await read(consumer);
    await warmings().end(claim);
    await complete(consumer, batch);
    expect(await queue.client().hgetall(`{ckv}:warming-${PARTITION}`)).toEqual({});
  });
});

describe('the erasure of a user or an event', () => {
  const erase = (consumer: PartitionQueue, eventId?: string) =>
    consumer.erase({ userId: 'u', ...(eventId ? { eventId } : {}) }, PARTITION_COUNT, async () => undefined);

  it('keeps a deleted user out of what waits and what comes from files, and not out of what is logged later', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 7], [w, 7]));
    await warmings().send(claim, rowsOf(['u', 1], [w, 1]), 0, false);
    await erase(consumer);
    await consumer.log(rowsOf(['u', 8]));
    await warmings().send(claim, rowsOf(['u', 2], [w, 2]), 2, true);
    expect(await applyAll(consumer)).toEqual([`${w} e1`, `${w} e2`, `${w} e7`, 'u e8']);
    const left = await queue.client().dump(`{ckv}:warming-${PARTITION}:files:${ENCODING}`);
    expect(left).toBeNull();
  });

  it('deletes the rows that wait', async () => {
    const consumer = await begin();
    await warmings().send(claim, rowsOf(['u', 1], [w, 1]), 0, false);
    await erase(consumer);
    const waiting = await queue.client().xrange(`{ckv}:warming-${PARTITION}:files:${ENCODING}`, '-', '+');
    expect(waiting.map(([, fields]) => fields[1])).toEqual([w]);
  });

  it('keeps a forgotten event out of everything, also if it is recorded again', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 7], ['u', 8]));
    await erase(consumer, 'e7');
    await erase(consumer, 'e2');
    await consumer.log(rowsOf(['u', 7]));
    await warmings().send(claim, rowsOf(['u', 1], ['u', 2], ['u', 3], [w, 2]), 0, true);
    expect(await applyAll(consumer)).toEqual(['u e1', 'u e3', `${w} e2`, 'u e8']);
  });

  it('keeps the cut of a forgotten event: the rows after it are in the log', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 3], ['u', 4], ['u', 5]));
    await erase(consumer, 'e3');
    await warmings().send(claim, rowsOf(['u', 1], ['u', 2], ['u', 3], ['u', 4], ['u', 5]), 0, true);
    expect(await applyAll(consumer)).toEqual(['u e1', 'u e2', 'u e4', 'u e5']);
  });

  it('keeps the cut of a forgotten event whose row waits', async () => {
    const consumer = await begin();
    await consumer.log(rowsOf(['u', 3], ['u', 4], ['u', 5]));
    await warmings().send(claim, rowsOf(['u', 1], ['u', 2], ['u', 3], ['u', 4]), 0, false);
    await erase(consumer, 'e3');
    await warmings().send(claim, rowsOf(['u', 5], [w, 5]), 4, true);
    expect(await applyAll(consumer)).toEqual(['u e1', 'u e2', `${w} e5`, 'u e4', 'u e5']);
  });

  it('counts before the partition is armed, too', async () => {
    const consumer = await queue.consume();
    await warmings().begin(claim, FILES);
    await erase(consumer);
    await arm(consumer);
    await warmings().open(claim);
    await warmings().send(claim, rowsOf(['u', 1], [w, 1]), 0, true);
    expect(await applyAll(consumer)).toEqual([`${w} e1`]);
  });
});

describe('the sender of files', () => {
  it('sends all rows again after its death: each partition gets each row once', async () => {
    const consumer = await begin();
    const rows = rowsOf(['u', 1], [far, 1], ['u', 2], [w, 1]);
    await warmings().send(claim, rows.slice(0, 2), 0, false);
    await warmings().send(claim, rows.slice(0, 2), 0, false);
    await warmings().send(claim, rows.slice(2), 2, true);
    await warmings().send(claim, rows.slice(0, 2), 0, false);
    await warmings().send(claim, rows.slice(2), 2, true);
    expect(await applyAll(consumer)).toEqual(['u e1', 'u e2', `${w} e1`]);
    await warmings().send(claim, rows.slice(2), 2, true); // the partition is live by now
  });

  it('is refused if another sender began with other files, also if rows at its place are due', async () => {
    const consumer = await begin();
    await warmings().send(claim, rowsOf(['u', 1], [far, 1]), 0, false, 'new');
    const late = warmings().send(claim, rowsOf(['u', 8]), 2, true, 'old');
    await expect(late).rejects.toMatchObject({ reason: 'conflict', message: expect.stringContaining('other files') });
    await warmings().send(claim, rowsOf(['u', 2]), 2, true, 'new');
    expect(await applyAll(consumer)).toEqual(['u e1', 'u e2']);

    await warmings().end(claim);
    await warmings().begin(claim, FILES);
    await arm(consumer);
    await warmings().open(claim);
    expect(await warmings().send(claim, rowsOf(['u', 8]), 0, true, 'old')).toEqual([]);
  });

  it('is refused if rows are missing', async () => {
    await begin();
    await expect(warmings().send(claim, rowsOf(['u', 1]), 3, false)).rejects.toThrow(/has 0 rows/);
  });

  it('is told which partitions have no room', async () => {
    const consumer = await begin();
    const key = `{ckv}:warming-${PARTITION}:files:${ENCODING}`;
    const many = Array.from({ length: 20_000 }, (_, i) => [
      'XADD',
      key,
      '*',
      'user',
      'u',
      'event',
      `x${i}`,
      'rest',
      '',
    ]);
    await queue
      .client()
      .pipeline(many.map(([name = '', ...args]) => [name.toLowerCase(), ...args]))
      .exec();
    expect(await warmings().send(claim, rowsOf(['u', 1], [far, 1]), 0, false)).toEqual([PARTITION]);
    await queue.client().xtrim(key, 'MAXLEN', 10);
    expect(await warmings().send(claim, rowsOf(['u', 1], [far, 1]), 0, false)).toEqual([]);
    expect(await queue.client().xlen(key)).toBe(11);
    expect(consumer.partition).toBe(PARTITION);
  });
});

it('warms a bounded number of encodings at once, each once', async () => {
  const claims = await Promise.all([...'01234f'].map((digit) => claimOf(digit.repeat(16))));
  const [first, , , , , sixth] = claims as [EncodingClaim, ...EncodingClaim[]] & EncodingClaim[];
  for (const one of claims.slice(0, MAX_WARMINGS)) expect(await warmings().begin(one, FILES)).toBe(true);
  expect(await warmings().begin(first, FILES)).toBe(false);
  await expect(warmings().begin(sixth as EncodingClaim, FILES)).rejects.toMatchObject({ reason: 'overloaded' });
  expect(await warmings().end(first)).toBe(true);
  expect(await warmings().end(first)).toBe(false);
  expect(await warmings().begin(sixth as EncodingClaim, FILES)).toBe(true);
  for (const one of claims) one.leave();
});
