// The judge reports everything that is wrong, and forgives only what the promise of a fault allows.
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Backends } from '../load/backends.js';
import { createUserJournal, type UserJournal } from '../load/user-journal.js';
import type { FaultOptions } from '../scenario.js';
import { createJudge, type JudgeParts } from './judge.js';
import { recordKey } from './record-bytes.js';
import type { RecordCount } from './verdict.js';

const ENCODING = '0123456789abcdef';

let server: PrivateRedis;
let redis: RedisClient;
beforeAll(async () => {
  server = await startTemporaryRedis({ fsync: 'no' });
  redis = await connectedRedis(server.url, { field: 'url', name: 'judge', whenAway: 'fail' });
});
afterAll(async () => {
  closeRedis(redis);
  await server.stop();
});

let journals: UserJournal[];
let failures: string[];
let wrongAnswers: string[];
beforeEach(async () => {
  await redis.flushall();
  [journals, failures, wrongAnswers] = [[], [], []];
});

/** A user with so many accepted interactions. */
function user(count: number): UserJournal {
  const userId = `u${journals.length}`;
  const journal = createUserJournal(userId, { maxPositions: 20, forgetsByEventOnly: false });
  for (let i = 0; i < count; i++) {
    journal.record({ eventId: `e${i}`, userId, itemId: 'i', timestampMs: 1_000 + i, action: '', features: {} });
  }
  journal.accept();
  journals.push(journal);
  return journal;
}

/** Stores a record with the events of these numbers, in this order. */
async function store(journal: UserJournal, seqs: readonly number[], newestMs = 999 + journal.events.length) {
  const header = Buffer.alloc(30);
  header.write('CK', 'latin1');
  header.writeUInt8(1, 2);
  header.writeUInt8(2, 3);
  header.writeUInt8(seqs.length, 4);
  header.write(ENCODING, 6, 'hex');
  header.writeUIntLE(seqs.length, 14, 6);
  header.writeUIntLE(newestMs, 20, 6);
  header.writeUInt32LE(seqs.length, 26);
  const ring = seqs.map((seq) => Buffer.from(journal.events[seq]?.hash ?? '', 'hex'));
  await redis.set(recordKey(ENCODING, journal.userId), Buffer.concat([header, ...ring, ...seqs.map(rowOf)]));
}

const rowOf = (seq: number) => Buffer.from([seq, 7]);

function createTestJudge({ onlyFaults = '', stopAt = [] }: Partial<Pick<JudgeParts, 'onlyFaults' | 'stopAt'>> = {}) {
  const backends: Partial<Backends> = {
    journals,
    isOpen: () => true,
    pause: async () => undefined,
    resume: () => undefined,
    acceptedCount: 0,
  };
  return createJudge({
    fleet: { hops: { of: () => [] }, reader: redis, queueReader: redis } as unknown as JudgeParts['fleet'],
    backends: backends as Backends,
    ranks: { failures } as unknown as JudgeParts['ranks'],
    answers: { add: () => undefined, run: async () => wrongAnswers },
    reference: {
      bundle: { model: { encodingId: ENCODING, encodesWithHistory: false } },
      rowsAfter: async (journal: UserJournal) => journal.events.map(({ seq }) => rowOf(seq)),
    } as unknown as JudgeParts['reference'],
    onProgress: () => undefined,
    onlyFaults,
    stopAt,
    recoveryMs: 50,
  });
}

/** Returns what the judge found after one fault. */
async function verdictOf(options: FaultOptions = {}, strike: () => Promise<void> = async () => undefined) {
  const judge = createTestJudge();
  await judge.run(() => judge.fault('a fault', strike, options));
  return judge.verdict;
}

const allow = (counts: Partial<Record<RecordCount, number>>): FaultOptions => ({ mayBreak: () => counts });
const EVERYTHING = allow({ lost: 1_000, duplicated: 1_000, outOfOrder: 1_000 });

describe('the judge', () => {
  it('finds no problem if every record holds what was sent', async () => {
    await store(user(3), [0, 1, 2]);
    expect((await verdictOf()).problems).toEqual([]);
  });

  it.each([
    { seqs: [0, 2], broken: { lost: 1 } },
    { seqs: [0, 1, 2, 2], broken: { duplicated: 1 } },
    { seqs: [1, 0, 2], broken: { outOfOrder: 1 } },
  ])('allows $broken up to the number at risk, counted apart', async ({ seqs, broken }) => {
    for (const journal of [user(3), user(3)]) await store(journal, seqs);
    const [count = ''] = Object.keys(broken) as RecordCount[];

    const within = await verdictOf(allow({ [count]: 2 }));
    expect(within).toMatchObject({ [count]: 0, allowed: { [count]: 2 }, problems: [] });

    const beyond = await verdictOf(allow({ [count]: 1 }));
    expect(beyond).toMatchObject({ [count]: 1, allowed: { [count]: 1 } });
    expect(beyond.problems).toMatchObject([{ fault: 'a fault', counts: broken }]);

    const others = { lost: 9, duplicated: 9, outOfOrder: 9, [count]: 0 };
    expect(await verdictOf(allow(others))).toMatchObject({ [count]: 2, allowed: { [count]: 0 } });
  });

  it('never allows a difference that is neither lost nor double nor moved', async () => {
    await store(user(3), [0, 1, 2], 5);
    const { problems } = await verdictOf(EVERYTHING);
    expect(problems).toMatchObject([{ fault: 'a fault', counts: { lost: 0, duplicated: 0, outOfOrder: 0 } }]);
    expect(problems[0]?.what).toContain('newest ms: 5, not 1002');
  });

  it('never allows jobs that are left, or that are in no list', async () => {
    await redis.lpush('{ckv}:interactions-3:wait', 'left');
    await redis.hset('{ckv}:interactions-3:lost', 'name', 'record');
    const { stuck, problems } = await verdictOf(EVERYTHING);
    expect(stuck).toBe(2);
    expect(problems.map(({ what }) => what)).toEqual([
      'not everything is applied 0.05 s after the fault',
      expect.stringMatching(/^jobs are left: \{"waiting":1/),
      '1 jobs are in no list: {ckv}:interactions-3:lost',
    ]);
  });

  it('counts jobs that should be set aside and are not', async () => {
    expect(await verdictOf({ asideJobs: 2 })).toMatchObject({ stuck: 2 });
  });

  it('never allows wrong scores or failed requests', async () => {
    wrongAnswers.push('an answer for u: no history has these scores');
    failures.push('deadline: too late', 'deadline: too late');
    const { problems, ...counts } = await verdictOf(EVERYTHING);
    expect(counts).toMatchObject({ wrongScores: 1, failedRequests: 2 });
    expect(problems).toHaveLength(2);
  });

  it('reports what is not applied in time', async () => {
    await store(user(3), [0, 1]);
    const whats = (await verdictOf()).problems.map(({ what }) => what);
    expect(whats).toContain('not everything is applied 0.05 s after the fault');
  });

  it('reports a scenario that ends early by the fault that was on, whatever the fault may break', async () => {
    const { problems } = await verdictOf(EVERYTHING, () => Promise.reject(new Error('no restart')));
    expect(problems).toEqual([{ fault: 'a fault', what: 'the scenario ended: no restart', counts: {} }]);
  });

  it('blames no fault for an error between two faults', async () => {
    const judge = createTestJudge();
    await judge.run(async () => {
      await judge.fault('a fault', async () => undefined);
      throw new Error('of the scenario itself');
    });
    expect(judge.verdict.problems).toMatchObject([{ fault: '', what: 'the scenario ended: of the scenario itself' }]);
  });

  it('reports that no fault was caused, if none has the wanted text', async () => {
    const judge = createTestJudge({ onlyFaults: 'earthquake' });
    await judge.run(async () => {
      await judge.fault('no fault', async () => undefined);
      await judge.fault('a fault', () => Promise.reject(new Error('not wanted')));
    });
    expect(judge.verdict.problems).toMatchObject([{ what: 'the scenario ended: no fault has the text "earthquake"' }]);
  });

  it('ends the scenario at the first fault that shows a wanted count', async () => {
    await store(user(3), [0, 2]);
    const judge = createTestJudge({ stopAt: ['lost'] });
    const later: string[] = [];
    await judge.run(async () => {
      await judge.fault('a fault', async () => undefined);
      later.push('ran');
    });
    expect(later).toEqual([]);
    expect(judge.verdict.lost).toBe(1);
  });
});
