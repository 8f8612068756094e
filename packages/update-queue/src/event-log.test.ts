import { partitionOf } from '@collectivekv/domain';
import { describe, expect, it } from 'vitest';
import { openEventLog } from './event-log.js';
import { interactionOf, PARTITION, PARTITION_COUNT, useQueue } from './queue.fixture.js';

const queue = useQueue();
const KEY = `{ckv}:event-log-${PARTITION}`;
const BOUNDS = { ageMs: 3_600_000, maxEvents: 100 };
/** Another user of the partition of `u`. */
const other = Array.from({ length: 99 }, (_, i) => `w${i}`).find(
  (userId) => partitionOf(userId, PARTITION_COUNT) === PARTITION,
) as string;

const events = async () =>
  (await queue.client().xrange(KEY, '-', '+')).map(([, [, userId, , eventId]]) => `${userId} ${eventId}`);
/** Appends entries of a time before the age, as an updater did then. */
async function logLongAgo(count: number): Promise<void> {
  for (let n = 1; n <= count; n++)
    await queue.client().xadd(KEY, `${n}-1`, 'user', 'u', 'event', `old${n}`, 'rest', '');
}

describe('the event log', () => {
  it('holds the interactions in the order of their appends, with what their encoding needs', async () => {
    const consumer = await queue.consume('one', BOUNDS);
    await consumer.log([interactionOf(2), interactionOf(1)]);
    await consumer.log([interactionOf(3)]);
    expect(await events()).toEqual(['u e2', 'u e1', 'u e3']);
    const [[, [, , , , , rest = '']] = ['', []]] = await queue.client().xrange(KEY, '-', '+', 'COUNT', 1);
    const { userId: _user, eventId: _event, ...wanted } = interactionOf(2);
    expect(JSON.parse(rest)).toEqual(wanted);
  });

  it('holds more interactions than one call takes', async () => {
    const consumer = await queue.consume('one', { ageMs: 3_600_000, maxEvents: 2_000 });
    await consumer.log(Array.from({ length: 1_234 }, (_, n) => interactionOf(n)));
    expect(await events()).toEqual(Array.from({ length: 1_234 }, (_, n) => `u e${n}`));
  });

  it('keeps nothing by default', async () => {
    const consumer = await queue.consume();
    await consumer.log([interactionOf(1)]);
    expect(await queue.client().exists(KEY)).toBe(0);
  });

  it("drops what is older than its age by Redis's clock, with each append and with each trim", async () => {
    const consumer = await queue.consume('one', BOUNDS);
    await logLongAgo(3);
    await consumer.log([interactionOf(1)]);
    expect(await events()).toEqual(['u e1']);
    await queue.client().del(KEY);
    await logLongAgo(3);
    expect(await consumer.trimLog()).toBe(0);
    expect(await events()).toEqual([]);
  });

  it('drops the oldest beyond its length', async () => {
    const consumer = await queue.consume('one', { ageMs: 3_600_000, maxEvents: 2 });
    await consumer.log([interactionOf(1), interactionOf(2), interactionOf(3)]);
    expect(await events()).toEqual(['u e2', 'u e3']);
    expect(await consumer.trimLog()).toBe(2);
  });

  it('is deleted by the next trim after it was turned off', async () => {
    const consumer = await queue.consume('one', BOUNDS);
    await consumer.log([interactionOf(1)]);
    const later = await queue.consume('two');
    expect(await later.trimLog()).toBe(0);
    expect(await queue.client().exists(KEY)).toBe(0);
  });

  it('refuses a holder whose term is over, and one whose partition was opened again', async () => {
    const late = await queue.consume('one', BOUNDS);
    await late.log([interactionOf(1)]);
    await queue.consume('two', BOUNDS);
    await expect(late.log([interactionOf(2)])).rejects.toMatchObject({ reason: 'conflict' });
    await expect(late.trimLog()).rejects.toMatchObject({ reason: 'conflict' });
    await expect(late.erase({ userId: 'u' }, PARTITION_COUNT, async () => undefined)).rejects.toMatchObject({
      reason: 'conflict',
    });
    const term = { partition: PARTITION, member: 'one', term: 1 };
    const lateLog = openEventLog({ client: queue.service(), keyPrefix: 'ckv', term, token: 'one', bounds: BOUNDS });
    await expect(lateLog.scrub({ userId: 'u' }, [])).rejects.toMatchObject({ reason: 'conflict' });
    const former = await queue.consume('two', BOUNDS);
    await queue.client().hset('{ckv}:partition-terms', `${PARTITION}:opening`, 'another');
    await expect(former.log([interactionOf(3)])).rejects.toMatchObject({ reason: 'conflict' });
    expect(await events()).toEqual(['u e1']);
  });

  it('forgets a deleted user, and no other, however long it is', async () => {
    const consumer = await queue.consume('one', { ageMs: 3_600_000, maxEvents: 9_999 });
    await consumer.log(Array.from({ length: 1_500 }, (_, n) => interactionOf(n, n % 2 === 0 ? 'u' : other)));
    await consumer.erase({ userId: 'u' }, PARTITION_COUNT, async () => undefined);
    expect(await events()).toEqual(Array.from({ length: 750 }, (_, n) => `${other} e${2 * n + 1}`));
  });

  it('forgets an event of one user, each time that it is there', async () => {
    const consumer = await queue.consume('one', BOUNDS);
    await consumer.log([interactionOf(1), interactionOf(2), interactionOf(1), interactionOf(1, other)]);
    await consumer.erase({ userId: 'u', eventId: 'e1' }, PARTITION_COUNT, async () => undefined);
    expect(await events()).toEqual(['u e2', `${other} e1`]);
  });
});
