import { afterEach, describe, expect, it } from 'vitest';
import {
  CLAIM_MS,
  type ClaimOfOther,
  claimOver,
  type EncodingClaim,
  isClaimed,
  openEncodingClaims,
} from './encoding-claims.js';
import { CLOCK_MARGIN_MS } from './lease-table.js';
import { interactionOf, PARTITION_COUNT, useQueue } from './queue.fixture.js';
import { openWarmings, type WarmingPlan } from './warmings.js';

const queue = useQueue();
const ENCODING = '0123456789abcdef';
const KEY = '{ckv}:encoding-claims';
const PLAN: WarmingPlan = { bundleId: 'b', source: 'files', digest: 'd', rowCount: 9 };
const taken: EncodingClaim[] = [];
afterEach(() => {
  for (const claim of taken.splice(0)) claim.leave();
});

async function take(holder: string): Promise<EncodingClaim | ClaimOfOther> {
  const one = await openEncodingClaims(queue.operator(), 'ckv').take(ENCODING, holder);
  if (isClaimed(one)) taken.push(one);
  return one;
}
async function claim(holder: string): Promise<EncodingClaim> {
  const one = await take(holder);
  if (!isClaimed(one)) throw new Error(`held by ${one.holder}`);
  return one;
}
/** Ends the claim as the death of its process does, in no time. */
async function lapse(): Promise<void> {
  const [token, , holder] = ((await queue.client().hget(KEY, ENCODING)) ?? '').split(' ');
  await queue.client().hset(KEY, ENCODING, `${token} 1 ${holder}`);
}
const nowMs = async () => Number((await queue.client().time())[0]) * 1_000;
const warmings = () => openWarmings({ client: queue.operator(), keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });

describe('the claim on an encoding', () => {
  it('is held by one process, which the others are told', async () => {
    const mine = await claim('host:1 since noon');
    const other = (await take('host:2')) as ClaimOfOther;
    expect(other.holder).toBe('host:1 since noon');
    expect(mine.validUntilMs()).toBe(other.endsMs - CLOCK_MARGIN_MS);
    expect(other.endsMs).toBeGreaterThan(await nowMs());
    await mine.release();
    expect(isClaimed(await take('host:2'))).toBe(true);
  });

  it('is taken by another process after its end, and is not renewed or given back by the first one then', async () => {
    const late = await claim('one');
    await lapse();
    const mine = await claim('two');
    const before = await queue.client().hget(KEY, ENCODING);
    await late.release();
    expect(await queue.client().hget(KEY, ENCODING)).toBe(before);
    const renewed = await queue.operator().call('HGET', KEY, ENCODING);
    expect(renewed).toContain(mine.token);
  });

  it('is renewed after its end, if nobody has had it since', async () => {
    const mine = await claim('one');
    await lapse();
    const ends = async () => Number((await queue.client().hget(KEY, ENCODING))?.split(' ')[1]);
    await expect.poll(ends, { timeout: CLAIM_MS }).toBeGreaterThan(1);
    expect(await take('two')).toMatchObject({ holder: 'one' });
    expect(mine.validUntilMs()).toBeGreaterThan(await nowMs());
  });

  it('ends within its time after the clock of Redis has gone back', async () => {
    const mine = await claim('one');
    mine.leave();
    await queue.client().hset(KEY, ENCODING, `${mine.token} ${(await nowMs()) + 3_600_000} one`);
    const { endsMs } = (await take('two')) as ClaimOfOther;
    expect(endsMs).toBeLessThanOrEqual((await nowMs()) + CLAIM_MS + 1_000);
  });

  it('is needed for every change of a warming: a process that comes back late is refused', async () => {
    const late = await claim('one');
    await warmings().begin(late, PLAN);
    await lapse();
    const mine = await claim('two');
    await queue.client().hset('{ckv}:warming-0', `${ENCODING}:phase`, 'live');
    const keys = (await queue.client().keys('*')).sort();
    const dumps = async () => (await Promise.all(keys.map((key) => queue.client().dump(key)))).map(String);
    const before = await dumps();
    const over = { reason: 'conflict', message: claimOver(mine).message };
    for (const call of [
      () => warmings().begin(late, PLAN),
      () => warmings().replan(late, PLAN),
      () => warmings().open(late),
      () => warmings().send(late, [interactionOf(1)], 0, true),
      () => warmings().end(late),
      () => warmings().finish(late),
    ]) {
      await expect(call()).rejects.toMatchObject(over);
    }
    expect(await dumps()).toEqual(before);
    await mine.release();
    await expect(warmings().end(late)).rejects.toMatchObject(over);
    expect(await warmings().end(await claim('three'))).toBe(true);
  });

  it('ends a warming that is live everywhere, and no other unless it cancels it', async () => {
    const mine = await claim('one');
    await warmings().begin(mine, PLAN);
    expect(await warmings().finish(mine)).toBe(false);
    expect(await warmings().all()).toHaveLength(1);
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      await queue.client().hset(`{ckv}:warming-${partition}`, `${ENCODING}:phase`, 'live');
    }
    expect(await warmings().finish(mine)).toBe(true);
    expect(await warmings().all()).toEqual([]);
  });
});
