import { CkvError } from '@collectivekv/domain';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type Admission, createAdmission, type Load } from './admission.js';

const OVERLOADED = { reason: 'overloaded', retryAfterMs: 100 };
let now: number;
let load: Load;
/** Work that has begun and not ended, oldest first. */
let begun: { readonly name: string; readonly end: () => void }[];
let admission: Admission;

function open(mostWaiting = 50): void {
  admission = createAdmission({
    load: () => load,
    started: { least: 2, most: 4 },
    mostWaiting,
    nowMs: () => now,
  });
}

/** A request whose work ends when `begun` says so. */
function request(name: string, ended?: CkvError) {
  const limits = { deadlineMs: Number.POSITIVE_INFINITY, ended };
  return admission.run(limits, () => new Promise<string>((resolve) => begun.push({ name, end: () => resolve(name) })));
}

/** Sends requests that nobody waits for. Returns those that are refused. */
function flood(count: number): unknown[] {
  const refused: unknown[] = [];
  for (let i = 0; i < count; i++) void request('flood').catch((error: unknown) => refused.push(error));
  return refused;
}

/** Has the admission look at the time before. */
const judge = () => admission.full;

/** Waits for a turn of the event loop, at whose end waiting requests begin. */
const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

/** Ends the oldest work, `afterMs` after the last step. Waits until the admission has noticed. */
async function endOne(afterMs = 1): Promise<void> {
  now += afterMs;
  begun.shift()?.end();
  await turn();
}

beforeEach(() => {
  now = 1_000;
  load = 'busy';
  begun = [];
  open();
});

describe('an admission', () => {
  it('begins the least number at once, and the others in order as work ends', async () => {
    const all = Promise.all(['a', 'b', 'c', 'd'].map((name) => request(name)));
    expect(begun.map(({ name }) => name)).toEqual(['a', 'b']);
    expect([admission.startedCount, admission.waitingCount]).toEqual([2, 2]);
    await endOne();
    expect(begun.map(({ name }) => name)).toEqual(['b', 'c']);
    for (let i = 0; i < 3; i++) await endOne();
    expect(await all).toEqual(['a', 'b', 'c', 'd']);
    expect([admission.startedCount, admission.waitingCount]).toEqual([0, 0]);
  });

  it('begins as many as the least is when they come', async () => {
    let least = 2;
    const started = {
      get least() {
        return least;
      },
      most: 4,
    };
    admission = createAdmission({ load: () => load, started, mostWaiting: 50, nowMs: () => now });
    flood(2);
    least = 3;
    flood(2);
    await turn();
    expect([admission.startedCount, admission.waitingCount]).toEqual([3, 1]);
    load = 'full';
    least = 1;
    await endOne();
    expect([admission.startedCount, admission.waitingCount]).toEqual([2, 1]);
    while (admission.startedCount > 0) await endOne();
  });

  it('goes on after work that fails', async () => {
    const failing = Array.from({ length: 3 }, (_, i) =>
      admission.run({ deadlineMs: Number.POSITIVE_INFINITY }, async () => {
        throw new CkvError('conflict', `failure ${i}`);
      }),
    );
    const outcomes = await Promise.allSettled(failing);
    expect(outcomes.map((one) => one.status === 'rejected' && one.reason.message)).toEqual([
      'failure 0',
      'failure 1',
      'failure 2',
    ]);
    expect(admission.startedCount).toBe(0);
  });

  it('lets in one more each millisecond while there is spare capacity, up to the most', async () => {
    load = 'spare';
    const refused = flood(3);
    await turn();
    expect(begun.length).toBe(3);
    flood(1);
    await turn();
    expect(begun.length).toBe(3);
    for (let i = 0; i < 3; i++) {
      now += 1;
      flood(1);
      await turn();
      expect(begun.length).toBe(4);
    }
    expect(refused).toEqual([]);
  });

  it('lets in more while there is spare capacity although no request comes or ends', async () => {
    load = 'spare';
    flood(4);
    await turn();
    expect(begun.length).toBe(3);
    now += 1;
    await vi.waitUntil(() => begun.length === 4);
  });

  it('has no timer when no request waits', async () => {
    const started = vi.spyOn(globalThis, 'setInterval');
    const cleared = vi.spyOn(globalThis, 'clearInterval');
    flood(2);
    await turn();
    expect(started).not.toHaveBeenCalled();
    flood(2);
    await turn();
    expect(started).toHaveBeenCalledTimes(1);
    for (let i = 0; i < 4; i++) await endOne();
    expect(cleared).toHaveBeenCalledWith(started.mock.results[0]?.value);
    vi.restoreAllMocks();
  });

  it('begins the requests together for which places became free in one turn of the event loop', async () => {
    flood(2 + 2);
    await turn();
    for (const { end } of begun.splice(0)) {
      end();
      for (let i = 0; i < 20; i++) await Promise.resolve();
      expect(begun.length).toBe(0);
    }
    await turn();
    expect(begun.length).toBe(2);
  });

  it('lets in fewer again when there is more work than is needed, but never less than the least', async () => {
    load = 'spare';
    flood(3);
    await turn();
    now += 1;
    flood(7);
    await turn();
    expect(begun.length).toBe(4);
    load = 'full';
    await endOne();
    expect(begun.length).toBe(3);
    for (let i = 0; i < 5; i++) await endOne();
    expect(begun.length).toBe(2);
  });

  it('refuses requests beyond the bound with a delay, and says so before they are read', async () => {
    open(3);
    expect(admission.full).toBe(false);
    const refused = flood(2 + 3 + 2);
    await vi.waitUntil(() => refused.length === 2);
    expect(refused).toEqual([expect.objectContaining(OVERLOADED), expect.objectContaining(OVERLOADED)]);
    expect(admission.full).toBe(true);
    expect([admission.startedCount, admission.waitingCount]).toEqual([2, 3]);
  });

  it('never begins a request whose caller left or whose deadline passed, and keeps no place for it', async () => {
    open(2);
    flood(2);
    const cancelled = new CkvError('cancelled', 'gone');
    const left: { deadlineMs: number; ended: CkvError | undefined } = {
      deadlineMs: Number.POSITIVE_INFINITY,
      ended: undefined,
    };
    const late = { deadlineMs: Number.POSITIVE_INFINITY };
    const work = vi.fn(async () => undefined);
    const outcomes = Promise.allSettled([left, late].map((limits) => admission.run(limits, work)));
    expect(admission.full).toBe(true);
    left.ended = cancelled;
    expect(admission.full).toBe(false);
    late.deadlineMs = 0;
    await endOne();
    expect(await outcomes).toMatchObject([{ reason: cancelled }, { reason: { reason: 'deadline' } }]);
    await expect(admission.run({ deadlineMs: 0 }, work)).rejects.toMatchObject({ reason: 'deadline' });
    expect(work).not.toHaveBeenCalled();
  });

  it('counts a request whose caller left until its work has ended', async () => {
    const limits: { deadlineMs: number; ended?: CkvError } = { deadlineMs: Number.POSITIVE_INFINITY };
    const running = admission.run(limits, () => new Promise<void>((resolve) => begun.push({ name: '', end: resolve })));
    limits.ended = new CkvError('cancelled', 'gone');
    flood(2);
    expect([admission.startedCount, admission.waitingCount]).toEqual([2, 1]);
    await endOne();
    await running;
    expect([admission.startedCount, admission.waitingCount]).toEqual([2, 0]);
  });
});

describe('under overload', () => {
  /** Ends one request and sends ten each millisecond. */
  async function keepFull(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      flood(10);
      await endOne();
    }
  }
  /** Ends one request and sends one each millisecond. */
  async function answerAll(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      flood(1);
      await endOne();
    }
  }
  const emptyPlaces = async () => {
    while (admission.waitingCount > 0) await endOne();
  };

  it('32 may wait after 100 ms in which requests waited without a break', async () => {
    judge();
    flood(2 + 40);
    now += 99;
    expect(admission.full).toBe(false);
    now += 1;
    expect(admission.full).toBe(false); // at the start of the 100 ms none waited
    now += 100;
    expect(admission.full).toBe(true);
    while (admission.waitingCount >= 32) await endOne(0);
    expect(admission.full).toBe(false);
  });

  it.each([
    [40, 40],
    [3, 32],
  ])('%i may wait instead, if as many is given and not less than 32', async (mostStanding, most) => {
    admission = createAdmission({
      load: () => load,
      started: { least: 2, most: 4 },
      mostWaiting: 50,
      mostStanding,
      nowMs: () => now,
    });
    judge();
    flood(2 + 45);
    for (let i = 0; i < 2; i++) {
      now += 100;
      judge();
    }
    expect(admission.full).toBe(true);
    while (admission.waitingCount >= most) {
      expect(admission.full).toBe(true);
      await endOne(0);
    }
    expect([admission.waitingCount, admission.full]).toEqual([most - 1, false]);
  });

  it('a burst that fits the places is not refused later', async () => {
    const refused = flood(2 + 50);
    now += 200;
    expect(admission.full).toBe(true);
    now += 200;
    expect(admission.full).toBe(true);
    await emptyPlaces();
    expect(refused).toEqual([]);
  });

  it('8 may wait after 100 ms in which most were refused, and the others are refused with a delay', async () => {
    flood(2);
    await answerAll(300);
    const refused = flood(50 + 60);
    await vi.waitUntil(() => refused.length >= 60);
    const before = refused.length;
    now += 100;
    expect(admission.full).toBe(true);
    expect(admission.waitingCount).toBe(8);
    await vi.waitUntil(() => refused.length === before + 42);
    expect(refused).toEqual(Array(before + 42).fill(expect.objectContaining(OVERLOADED)));
  });

  it('8 may wait as long as most are refused, also after a moment in which none waits', async () => {
    await keepFull(150);
    await emptyPlaces();
    await keepFull(100);
    flood(40);
    expect(admission.waitingCount).toBe(8);
  });

  it('32 may wait after 100 ms in which most were begun', async () => {
    await keepFull(150);
    now += 100;
    judge();
    await answerAll(100);
    flood(40);
    expect(admission.waitingCount).toBe(32);
  });

  it('32 may wait after 100 ms in which many were refused, but more were begun', async () => {
    await keepFull(150);
    now += 100;
    judge();
    await answerAll(100);
    await answerAll(98);
    flood(24 + 40); // 40 are refused
    now += 2;
    expect(admission.full).toBe(true);
    expect(admission.waitingCount).toBe(32);
  });

  it('counts from before a pause are not used', async () => {
    judge();
    flood(2 + 50 + 60);
    await emptyPlaces();
    now += 10_000;
    flood(2 + 50);
    expect(admission.waitingCount).toBe(50);
  });

  it('no more wait than the bound, if it is less', async () => {
    open(5);
    await keepFull(150);
    now += 100;
    judge();
    await answerAll(100);
    flood(40);
    expect(admission.waitingCount).toBe(5);
  });

  it('all places are there again after 100 ms in which none waited at some time', async () => {
    await keepFull(150);
    now += 100;
    judge();
    await emptyPlaces();
    now += 100;
    flood(2 + 50);
    expect(admission.waitingCount).toBe(50);
  });
});
