import { setImmediate as turn } from 'node:timers/promises';
import { CkvError } from '@collectivekv/domain';
import { createLogger } from '@collectivekv/service-kit';
import type { PartitionQueue, TakenJob } from '@collectivekv/update-queue';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PreparedBatch } from './batches/apply-waves.js';
import type { TakenJobs } from './batches/job-batches.js';
import { createFence } from './partitions/fence.js';
import { startUpdater, type Updater } from './updater.js';

const fence = createFence({ partition: 3, member: 'one', term: 1 });
/** Ids of the jobs that wait in the partition, and of those that are taken. */
let waiting: number[];
let active: number[];
/** The updater's steps, in order. */
let steps: string[];
/** How prepare and apply end for a batch that begins with that job. By default they succeed at once. */
let endings: Map<string, Promise<void>>;
let due: boolean;
/** True if the lease outlives a failure: the partition can be opened again. */
let keepsLease: boolean;
/** Jobs asked for by each take. */
let takes: number[];
/** Partitions of each wait for arrivals. */
let waits: (readonly number[])[];
/** Interactions in the event log, and the numbers of them that the updater reported. */
let loggedCount: number;
let loggedTotals: number[];
/** Version of what is being warmed. */
let warmedVersion: number;
/** Encodings that the updater can write. */
let writable: readonly string[];
/** True while an append may be late. */
let late: boolean;
/** Time until the next step of the warmer, ms. */
let stepInMs: number;
/** Numbers of waiting jobs that the updater reported. */
let waitingTotals: number[];
/** How long apply lasts by the mocked clock, ms. */
let applyMs: number;
let clockMs: number;
/** True while the partition gives no job because of an erasure. */
let erasing: boolean;
/** Replaces the wait for arrivals. */
let arrival: () => Promise<void>;
let updater: Updater;

const unused = () => Promise.reject(new Error('unused'));
const queue: PartitionQueue = {
  partition: 3,
  recover: unused,
  async take(maxCount) {
    takes.push(maxCount);
    if (erasing) return [];
    const taken = waiting.splice(0, maxCount);
    active.push(...taken);
    return taken.map((n) => ({ id: String(n), name: 'record', payload: {}, queuedAtMs: 1, progress: 0 }));
  },
  complete: unused,
  fail: unused,
  remember: unused,
  log: unused,
  trimLog: async () => loggedCount,
  warming: {
    async arm(arms, encodingIds) {
      steps.push(arms ? 'arm' : 'look', `can write ${encodingIds}`);
      return { version: warmedVersion, begun: !arms };
    },
    pending: () => new Set(),
    read: unused,
    complete: unused,
    nextPhase: unused,
    erase: unused,
  },
  isErasing: () => erasing,
  erase: unused,
  close: unused,
};

const idsOf = (taken: readonly TakenJobs[]) => taken.flatMap(({ jobs }) => jobs.map(({ id }: TakenJob) => Number(id)));
const batchOf = new WeakMap<PreparedBatch, number[]>();

async function step(name: 'prepare' | 'apply' | 'warm', ids: readonly number[]): Promise<void> {
  const text = `${name} ${ids[0]}`;
  steps.push(text);
  await endings.get(text);
  steps.push(`${text} ends`);
}

beforeEach(() => {
  waiting = [];
  active = [];
  steps = [];
  endings = new Map();
  due = true;
  keepsLease = true;
  takes = [];
  waits = [];
  waitingTotals = [];
  warmedVersion = 1;
  writable = ['e'];
  late = false;
  stepInMs = Number.POSITIVE_INFINITY;
  loggedCount = 5;
  loggedTotals = [];
  applyMs = 0;
  erasing = false;
  clockMs = 2_000;
  arrival = () => turn();
});

function start(able = Promise.resolve()): void {
  updater = startUpdater({
    able,
    holdPartitions: () => {
      steps.push('hold');
      return {
        isDue: () => due,
        async settle() {
          due = false;
          steps.push('settle');
          waiting.unshift(...active.splice(0));
          return [{ queue, fence }];
        },
        async closeAll() {
          steps.push('close');
          due = keepsLease;
        },
        async stop() {
          steps.push('stop');
        },
      };
    },
    waitingCounts: async () => [waiting.length],
    arrivals: {
      wait(partitions) {
        waits.push(partitions);
        return arrival();
      },
    },
    batches: {
      async prepare(taken) {
        const ids = idsOf(taken);
        await step('prepare', ids);
        const batch: PreparedBatch = {
          works: [],
          encoded: { encodings: [], unknownItemCount: 0, unknownActionCount: 0 },
          traceparents: [],
        };
        batchOf.set(batch, ids);
        return batch;
      },
      async apply(batch) {
        const ids = batchOf.get(batch) ?? [];
        await step('apply', ids);
        clockMs += applyMs;
        active = active.filter((n) => !ids.includes(n));
      },
    },
    warmer: {
      dueInMs: () => stepInMs,
      async step(_, busy) {
        stepInMs = Number.POSITIVE_INFINITY;
        await step('warm', [busy ? 1 : 0]);
      },
    },
    warmingVersion: async () => warmedVersion,
    writable: () => writable,
    mayBeLate: () => late,
    onWaiting: (count) => waitingTotals.push(count),
    onLogged: (count) => loggedTotals.push(count),
    log: createLogger('test', 'silent'),
    stopping: new AbortController(),
  });
}
let release: (() => void)[] = [];
afterEach(async () => {
  for (const end of release) end();
  release = [];
  await updater.stop();
  vi.restoreAllMocks();
});

/** Keeps a step from ending until the test ends it. */
function hold(name: string): { end(): void; fail(): void } {
  let end = () => {};
  let fail = () => {};
  const ending = new Promise<void>((resolve, reject) => {
    end = resolve;
    fail = () => reject(new CkvError('conflict', 'a partition went'));
  });
  endings.set(name, ending);
  release.push(end);
  return { end, fail };
}
const until = (text: string) => vi.waitUntil(() => steps.includes(text), { interval: 1 });
const turns = async () => {
  for (let i = 0; i < 20; i++) await turn();
};

it('prepares a batch while the previous batch is applied, and applies batches one by one, in order', async () => {
  start();
  const first = hold('apply 1');
  waiting.push(1);
  await until('apply 1');
  waiting.push(2);
  await until('prepare 2 ends');
  waiting.push(3);
  await turns();
  expect(steps).not.toContain('apply 2');
  expect(steps).not.toContain('prepare 3'); // no more than two batches are in memory
  first.end();
  await until('apply 3 ends');
  const applied = steps.filter((text) => text.startsWith('apply'));
  expect(applied).toEqual([1, 2, 3].flatMap((n) => [`apply ${n}`, `apply ${n} ends`]));
});

it('opens, closes and gives back partitions only with no batch in hand', async () => {
  start();
  const first = hold('apply 1');
  waiting.push(1);
  await until('apply 1');
  due = true;
  waiting.push(2);
  await turns();
  expect(steps.filter((text) => text === 'settle').length).toBe(1);
  first.end();
  await until('apply 2 ends');
  expect(steps.lastIndexOf('settle')).toBeGreaterThan(steps.indexOf('apply 1 ends'));
});

it.each([
  ['applied', 'apply 1', 'prepare 2', 'apply 1'],
  ['prepared', 'prepare 2', 'apply 1', 'apply 2'],
])('takes unsettled jobs again after a batch could not be %s and the other ended', async (_, bad, other, next) => {
  start();
  const steppers = { 'apply 1': hold('apply 1'), 'prepare 2': hold('prepare 2') };
  waiting.push(1);
  await until('apply 1');
  waiting.push(2);
  await until('prepare 2');
  steppers[bad as keyof typeof steppers].fail();
  await turns();
  expect(steps).not.toContain('close');
  endings.clear();
  steppers[other as keyof typeof steppers].end();
  await until('close');
  expect(steps.indexOf('close')).toBeGreaterThan(steps.indexOf(`${other} ends`));
  await vi.waitUntil(() => waiting.length + active.length === 0, { interval: 1 });
  expect(steps.slice(steps.indexOf('close')).find((text) => text.startsWith('apply'))).toBe(next);
});

it('takes nothing after a failure while its partitions are lost', async () => {
  start();
  const first = hold('apply 1');
  waiting.push(1);
  await until('apply 1');
  keepsLease = false;
  first.fail();
  await until('close');
  const takesBefore = takes.length;
  const waitsBefore = waits.length;
  waiting.push(2);
  await vi.waitUntil(() => waits.length > waitsBefore, { interval: 1 });
  expect(waits.slice(waitsBefore)).toContainEqual([]);
  expect(takes.length).toBe(takesBefore);
});

it('ends when the batch in hand is applied, and gives the partitions back after it', async () => {
  start();
  const first = hold('apply 1');
  waiting.push(1);
  await until('apply 1');
  const stopped = updater.stop();
  await turns();
  expect(steps).not.toContain('stop');
  first.end();
  await stopped;
  expect(steps.slice(-2)).toEqual(['apply 1 ends', 'stop']);
});

it('tells its partitions what is being warmed before it takes a job, and after each opening', async () => {
  waiting.push(1);
  start();
  await until('apply 1 ends');
  expect(steps.indexOf('arm')).toBeLessThan(steps.indexOf('prepare 1'));
  due = true;
  waiting.push(2);
  await until('apply 2 ends');
  expect(steps.filter((text) => text === 'arm').length).toBe(2);
});

it('makes a step of the warming only with no batch in hand', async () => {
  start();
  const first = hold('apply 1');
  waiting.push(1);
  await until('apply 1');
  stepInMs = 0;
  waiting.push(2);
  await turns();
  expect(steps).not.toContain('warm 0');
  first.end();
  await until('apply 2 ends');
  const warmed = steps.findIndex((text) => text.startsWith('warm'));
  expect(warmed).toBeGreaterThan(steps.indexOf('apply 1 ends'));
  expect(steps[warmed + 1]).toMatch(/^warm \d ends$/);
});

it('takes the jobs behind an erasure as soon as it is settled, not at the next arrival', async () => {
  start();
  const first = hold('apply 1');
  waiting.push(1);
  await until('apply 1');
  erasing = true;
  waiting.push(2);
  await vi.waitUntil(() => takes.length > 1, { interval: 1 });
  arrival = () => new Promise(() => undefined);
  await turns();
  expect(steps).not.toContain('prepare 2');
  erasing = false;
  first.end();
  await until('apply 2 ends');
});

it('holds nothing before interactions can be encoded, and ends without it', async () => {
  start(new Promise(() => undefined));
  await turns();
  await updater.stop();
  expect(steps).toEqual([]);
});

it('ends though no job arrives', async () => {
  arrival = () => new Promise(() => undefined);
  start();
  await vi.waitUntil(() => waits.length > 0, { interval: 1 });
  expect(waits).toEqual([[3]]);
  await updater.stop();
  expect(steps.at(-1)).toBe('stop');
});

it('ends though a batch fails as it stops', async () => {
  const first = hold('apply 1');
  start();
  waiting.push(1);
  await until('apply 1');
  const stopped = updater.stop();
  first.fail();
  await stopped;
  expect(steps.slice(-1)).toEqual(['stop']);
});

describe('with a clock of the test', () => {
  beforeEach(() => {
    vi.spyOn(performance, 'now').mockImplementation(() => clockMs);
  });

  it('takes more jobs at once while batches are fast, up to 64, and fewer while they are slow, down to 8', async () => {
    applyMs = 10;
    waiting.push(...Array.from({ length: 500 }, (_, i) => i));
    start();
    await vi.waitUntil(() => waiting.length + active.length === 0, { interval: 1 });
    const sizes = takes.filter((count) => count > 1);
    expect(sizes[0]).toBe(8);
    expect(Math.max(...sizes)).toBe(64);
    expect(new Set(sizes)).toEqual(new Set([8, 16, 32, 64, sizes.at(-1)]));
    takes = [];
    applyMs = 1_000;
    waiting.push(...Array.from({ length: 500 }, (_, i) => i));
    await vi.waitUntil(() => waiting.length + active.length === 0, { interval: 1 });
    expect(takes.filter((count) => count > 1)).toEqual(expect.arrayContaining([64, 16, 8]));
    expect(takes.filter((count) => count > 1).at(-2)).toBe(8);
  });

  it('keeps the size of batches that take as long as they may', async () => {
    applyMs = 100;
    waiting.push(...Array.from({ length: 40 }, (_, i) => i));
    start();
    await vi.waitUntil(() => waiting.length + active.length === 0, { interval: 1 });
    expect(takes.filter((count) => count > 1)).toEqual([8, 8, 8, 8, 8]);
  });

  it('asks a queue that looks empty for one job a second', async () => {
    start();
    await vi.waitUntil(() => waits.length > 3, { interval: 1 });
    expect(takes).toEqual([1]);
    clockMs += 1_000;
    await turns();
    expect(takes).toEqual([1]);
    clockMs += 1;
    await vi.waitUntil(() => takes.length > 1, { interval: 1 });
    await turns();
    expect(takes).toEqual([1, 1]);
  });

  it('looks once a second what is being warmed, and arms it with no batch in hand', async () => {
    start();
    await vi.waitUntil(() => waits.length > 3, { interval: 1 });
    warmedVersion = 2;
    await turns();
    expect(steps.filter((text) => text === 'arm').length).toBe(1);
    const first = hold('apply 1');
    waiting.push(1);
    await until('apply 1');
    clockMs += 1_000;
    await turns();
    expect(steps.filter((text) => text === 'arm').length).toBe(1);
    first.end();
    await vi.waitUntil(() => steps.filter((text) => text === 'arm').length === 2, { interval: 1 });
  });

  it('tells its partitions at once that it can write other encodings', async () => {
    start();
    await until('can write e');
    writable = ['e', 'f'];
    await until('can write e,f');
    expect(clockMs).toBe(2_000);
  });

  it('arms nothing while an append may be late, and looks again', async () => {
    late = true;
    start();
    await vi.waitUntil(() => steps.filter((text) => text === 'look').length > 1, { interval: 1 });
    late = false;
    await until('arm');
  });

  it('trims the event log once a minute, and reports its length', async () => {
    start();
    await vi.waitUntil(() => waits.length > 3, { interval: 1 });
    expect(loggedTotals).toEqual([5]);
    clockMs += 60_000;
    loggedCount = 4;
    await vi.waitUntil(() => loggedTotals.length > 1, { interval: 1 });
    await turns();
    expect(loggedTotals).toEqual([5, 4]);
  });

  it('reports the number of waiting jobs', async () => {
    waiting.push(1, 2, 3);
    start();
    await until('apply 1 ends');
    expect(waitingTotals[0]).toBe(3);
  });
});
