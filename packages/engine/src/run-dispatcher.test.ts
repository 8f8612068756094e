import {
  CkvError,
  createUserBatches,
  exactLength,
  float32,
  integers,
  steadyNowMs,
  type Tensors,
} from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createRunDispatcher, type RunDispatcher } from './run-dispatcher.js';
import type { RunLimits, TimedBatching } from './run-queue.js';
import { createRunTimes } from './run-times.js';
import { createWorkerPool, type WorkerPool } from './worker-pool.js';
import type { Command, WorkerThread } from './worker-thread.js';

/** A run that a stand-in for a thread was given. It is answered when the test says so. */
interface GivenRun {
  /** Its graph and its users: `rank 1`, or `batch 1+2`. */
  readonly text: string;
  readonly thread: number;
  readonly feeds: Tensors;
  readonly transfer: readonly ArrayBuffer[];
  answer(outputs?: Tensors): void;
  fail(error: CkvError): void;
}

/** Runs without an answer, oldest first. */
let given: GivenRun[];
/** Users of each batch that ended, and whether it failed. */
let batches: [number, boolean][];
/** Ends each thread. */
let deaths: (() => void)[];
let pool: WorkerPool;
let dispatcher: RunDispatcher;
const texts = () => given.map(({ text }) => text);

const shape = ['users', 'candidates'];
const GRAPH = {
  inputs: [{ name: 'item', role: 'candidate_item' as const, type: 'int64' as const, shape }],
  outputs: [{ name: 'scores', role: 'scores' as const, type: 'float32' as const, shape }],
};
const batchingOf = (graph: string): TimedBatching => ({
  graph,
  times: createRunTimes(),
  ...createUserBatches(GRAPH, { mostUsers: 4, bucket: exactLength, mostPadding: 1, mostCells: 1e6 }),
});
let batching: TimedBatching;

/** Feeds of a user whose candidates are all this item. */
const feedsOf = (item: number, count = 2): Tensors => ({ item: integers('int64', Array(count).fill(item), [count]) });

/** What a graph answers: as score of each candidate its item. */
function scoresOf({ item }: Tensors): Tensors {
  return { scores: float32(Float32Array.from(item?.data ?? [], Number), item?.shape ?? []) };
}

function startThread(): WorkerThread {
  const thread = deaths.length;
  let die = (): void => undefined;
  const ended = new Promise<unknown>((resolve) => {
    die = () => resolve(undefined);
  });
  deaths.push(die);
  return {
    ended,
    terminate: async () => die(),
    perform: (command: Command, transfer = []) =>
      new Promise((resolve, reject) => {
        if (command.kind !== 'run') throw new Error('only runs are tested');
        const { graph, feeds } = command;
        const users = feeds.item?.shape.length === 1 ? 1 : (feeds.item?.shape[0] ?? 0);
        const items = [...(feeds.item?.data ?? [])];
        const names = Array.from({ length: users }, (_, user) => items[(user * items.length) / users]);
        const run: GivenRun = {
          text: `${graph} ${names.join('+')}`,
          thread,
          feeds,
          transfer,
          answer: (outputs = scoresOf(feeds)) => settle(() => resolve(outputs)),
          fail: (error) => settle(() => reject(error)),
        };
        const settle = (action: () => void) => {
          given.splice(given.indexOf(run), 1);
          action();
        };
        void ended.then(() => run.fail(new CkvError('dependency_unavailable', 'the thread died')));
        given.push(run);
      }),
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function open(workerCount = 1, hasSpare = false): Promise<void> {
  pool = createWorkerPool({
    settings: { provider: 'cpu', deviceIndex: 0, threadsPerWorker: 1 },
    hasSpare,
    onReady: () => dispatcher.dispatch(),
    onDeath: () => undefined,
    startThread,
  });
  dispatcher = createRunDispatcher({
    pool,
    queueLimit: 8,
    hasSpare,
    onBatch: (userCount, failed) => batches.push([userCount, failed]),
  });
  pool.start(workerCount);
  await turn();
}

beforeEach(async () => {
  [given, batches, deaths] = [[], [], []];
  batching = batchingOf('batch');
  await open();
});
afterEach(() => pool.close());

/** Sends runs of users. Returns a promise of each user's scores, or of the reason of its failure. */
const send = (...items: number[]) => items.map((item) => sendOne(feedsOf(item)));
const sendOne = (feeds: Tensors, limits: RunLimits = {}, other: TimedBatching | 'alone' = batching) =>
  dispatcher
    .run({ graph: 'rank', feeds, keepFeeds: false, batching: other === 'alone' ? undefined : other }, limits)
    .then(
      ({ scores }) => [...(scores?.data ?? [])].map(Number),
      (error: CkvError) => error.reason,
    );

/** Answers the oldest run of a thread, and waits for what comes of it. */
async function answer(outputs?: Tensors): Promise<void> {
  given[0]?.answer(outputs);
  await turn();
}

/** Gives the worker one run of four users, and no other. */
async function startBatch(): Promise<Promise<unknown>[]> {
  const answers = send(1, 2, 3, 4, 5, 6);
  expect(texts()).toEqual(['rank 1', 'rank 2']);
  await answer();
  await answer();
  expect(texts()).toEqual(['batch 3+4+5+6']);
  return answers;
}

describe('runs that wait', () => {
  it('leave together, and each gets its own answer', async () => {
    const answers = await startBatch();
    await answer();
    expect(await Promise.all(answers)).toEqual([1, 2, 3, 4, 5, 6].map((item) => [item, item]));
    expect(texts()).toEqual([]);
    expect(batches).toEqual([[4, false]]);
  });

  it('leave in the order in which they came, up to the most users', async () => {
    send(1, 2, 3, 4, 5, 6, 7, 8);
    await answer();
    expect(texts()).toEqual(['rank 2', 'batch 3+4+5+6']);
    await answer();
    expect(texts()).toEqual(['batch 3+4+5+6']);
    expect(dispatcher.queuedCount).toBe(2);
  });

  it('leave for a busy worker only if they are as many users as it has', async () => {
    await startBatch();
    send(7, 8, 9);
    expect(texts()).toEqual(['batch 3+4+5+6']);
    expect(dispatcher.hungry).toBe(false);
    void sendOne(feedsOf(10, 40)); // does not fit
    expect(texts()).toEqual(['batch 3+4+5+6']);
    send(11);
    expect(texts()).toEqual(['batch 3+4+5+6', 'batch 7+8+9+11']);
  });

  it('leave at once when a worker is idle, however few they are', async () => {
    await startBatch();
    send(7, 8);
    await answer();
    expect(texts()).toEqual(['batch 7+8']);
    expect(dispatcher.hungry).toBe(true);
  });

  it('leave those that do not fit the oldest for the next batch', async () => {
    send(1, 2);
    const lengths = [1, 40, 1, 40];
    lengths.forEach((count, i) => void sendOne(feedsOf(3 + i, count)));
    await answer();
    expect(texts()).toEqual(['rank 2', 'batch 3+5']);
    await answer();
    await answer();
    expect(texts()).toEqual(['batch 4+6']);
  });

  it('are never joined with those of another bundle', async () => {
    send(1, 2);
    const other = batchingOf('otherBatch');
    [3, 4, 5, 6].forEach((item, i) => void sendOne(feedsOf(item), {}, i % 2 === 0 ? batching : other));
    await answer();
    await answer();
    expect(texts()).toEqual(['batch 3+5', 'otherBatch 4+6']);
  });

  it('are never joined without a batching, and do not wait for others', async () => {
    await startBatch();
    void sendOne(feedsOf(7), {}, 'alone');
    expect(texts()).toEqual(['batch 3+4+5+6', 'rank 7']);
    for (const item of [8, 9]) void sendOne(feedsOf(item), {}, 'alone');
    await answer();
    expect(texts()).toEqual(['rank 7', 'rank 8']);
  });

  it('are not in the batch if their caller left or their deadline passed', async () => {
    send(1, 2);
    const left: { ended?: CkvError } = {};
    const late: { deadlineMs?: number } = {};
    const answers = [sendOne(feedsOf(3), left), sendOne(feedsOf(4)), sendOne(feedsOf(5), late), sendOne(feedsOf(6))];
    left.ended = new CkvError('cancelled', 'the caller gave up');
    late.deadlineMs = 0;
    await answer();
    expect(texts()).toEqual(['rank 2', 'batch 4+6']);
    await answer();
    await answer();
    expect(await Promise.all(answers)).toEqual(['cancelled', [4, 4], 'deadline', [6, 6]]);
  });

  it('go to the worker with the fewest users', async () => {
    await pool.close();
    given.length = 0;
    await open(2);
    send(1, 2, 3, 4, 5, 6, 7, 8);
    const [busy, other] = [given[0]?.thread, given[1]?.thread];
    expect(texts()).toEqual(['rank 1', 'rank 2', 'rank 3', 'rank 4']);
    for (const run of given.filter(({ thread }) => thread === busy)) run.answer();
    await turn();
    expect(given.map(({ thread, text }) => [thread, text])).toEqual([
      [other, 'rank 2'],
      [other, 'rank 4'],
      [busy, 'batch 5+6+7+8'],
    ]);
    for (const run of given.filter(({ thread }) => thread === other)) run.answer();
    await turn();
    send(9, 10);
    expect(given.map(({ thread, text }) => [thread, text])).toEqual([
      [busy, 'batch 5+6+7+8'],
      [other, 'rank 9'],
      [other, 'rank 10'],
    ]);
  });
});

describe('runs with deadlines', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Answers the oldest run so much later. */
  async function answerAfter(ms: number): Promise<void> {
    vi.advanceTimersByTime(ms);
    await answer();
  }

  /** Gives the worker two runs of 10 ms, by now as all before them, so that it has time for others in 20 ms. */
  async function occupy(other = batching): Promise<void> {
    for (const item of [1, 2]) void sendOne(feedsOf(item), {}, other);
    await answerAfter(10);
    await answerAfter(10);
    for (const item of [3, 4]) void sendOne(feedsOf(item), {}, other);
  }

  /** Sends runs 5 to 8. Some have a deadline, so many ms after the worker has time for them. */
  const sendWith = (leftMs: Record<number, number>) =>
    [5, 6, 7, 8].map((item) => {
      const left = leftMs[item];
      return sendOne(feedsOf(item), { deadlineMs: left && steadyNowMs() + 20 + left });
    });

  it('leave together if all will be in time', async () => {
    await occupy();
    sendWith({ 6: 40, 8: 41 });
    await answerAfter(10);
    expect(texts()).toEqual(['rank 4', 'batch 5+6+7+8']);
  });

  it('leave first, the earliest deadline first, with those for which they have time', async () => {
    await occupy();
    sendWith({ 6: 39, 8: 31 });
    await answerAfter(10);
    expect(texts()).toEqual(['rank 4', 'batch 8+6+5']);
    await answerAfter(10);
    await answerAfter(30);
    expect(texts()).toEqual(['rank 7']);
  });

  it('leave alone if they have no time for others', async () => {
    await occupy();
    sendWith({ 6: 19 });
    await answerAfter(10);
    expect(texts()).toEqual(['rank 4', 'rank 6']);
    await answerAfter(10);
    expect(texts()).toEqual(['rank 6', 'batch 5+7+8']);
  });

  it('leave with all others if they would be late alone as well, and are not refused', async () => {
    await occupy();
    const answers = sendWith({ 6: 9 });
    await answerAfter(10);
    expect(texts()).toEqual(['rank 4', 'batch 5+6+7+8']);
    await answerAfter(10);
    await answerAfter(40);
    expect(await Promise.all(answers)).toEqual([5, 6, 7, 8].map((item) => [item, item]));
  });

  it('leave with all others while no run of their batching has ended', async () => {
    await occupy(batchingOf('other'));
    sendWith({ 6: 19 });
    await answerAfter(10);
    expect(texts()).toEqual(['rank 4', 'batch 5+6+7+8']);
  });
});

describe('background runs', () => {
  beforeEach(async () => {
    await pool.close();
    given.length = 0;
    await open(1, true);
  });

  it('run one by one on the spare worker, without a batch', async () => {
    const answers = [1, 2, 3].map((item) => sendOne(feedsOf(item), { background: true }));
    for (const text of ['rank 1', 'rank 2', 'rank 3']) {
      expect(texts()).toEqual([text]);
      await answer();
    }
    expect(await Promise.all(answers)).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
  });

  it('rest three times as long as one took if a request had a run meanwhile, but not for long', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
    try {
      for (const item of [1, 2, 3]) void sendOne(feedsOf(item), { background: true });
      for (const [item, runMs, restMs] of [
        [1, 20, 60],
        [2, 2_000, 250],
      ] as const) {
        send(9);
        await vi.advanceTimersByTimeAsync(runMs);
        given.find(({ text }) => text === `rank ${item}`)?.answer();
        await vi.advanceTimersByTimeAsync(restMs - 1);
        expect(texts()).not.toContain(`rank ${item + 1}`);
        await vi.advanceTimersByTimeAsync(1);
        expect(texts()).toContain(`rank ${item + 1}`);
      }
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a batch that fails', () => {
  const bug = new CkvError('bug', 'onnxruntime refused it');

  it('is repeated run by run, so that one user fails alone', async () => {
    const answers = await startBatch();
    given[0]?.fail(bug);
    await turn();
    expect(batches).toEqual([[4, true]]);
    expect(texts()).toEqual(['rank 3', 'rank 4']);
    given[1]?.fail(bug);
    await turn();
    expect(texts()).toEqual(['rank 3', 'rank 5']);
    for (let i = 0; i < 3; i++) await answer();
    expect(await Promise.all(answers)).toEqual([1, 2, 3, 4, 5, 6].map((item) => (item === 4 ? 'bug' : [item, item])));
  });

  it('is repeated before the runs that wait', async () => {
    await startBatch();
    send(7, 8, 9, 10, 11, 12);
    given[0]?.fail(bug);
    await turn();
    expect(texts()).toEqual(['batch 7+8+9+10', 'rank 3']);
    expect(dispatcher.queuedCount).toBe(5);
  });

  it.each([
    ['it answers no scores', (): Tensors => ({})],
    ['it answers too few scores', (): Tensors => ({ scores: float32(new Float32Array(6), [3, 2]) })],
  ])('is repeated if %s', async (_, outputs) => {
    const answers = await startBatch();
    await answer(outputs());
    expect(texts()).toEqual(['rank 3', 'rank 4']);
    for (let i = 0; i < 4; i++) await answer();
    expect(await Promise.all(answers)).toEqual([1, 2, 3, 4, 5, 6].map((item) => [item, item]));
  });

  it('is repeated if its runs cannot be joined', async () => {
    send(1, 2);
    const wrong = { item: integers('int32', [3, 3], [2]) };
    const answers = [sendOne(wrong), ...send(4, 5)];
    await answer();
    expect(batches).toEqual([[3, true]]);
    expect(texts()).toEqual(['rank 2', 'rank 3']);
    given[1]?.fail(bug);
    await turn();
    for (let i = 0; i < 3; i++) await answer();
    expect(await Promise.all(answers)).toEqual(['bug', [4, 4], [5, 5]]);
  });

  it('is not repeated for a caller that left', async () => {
    send(1, 2);
    const limits: { ended?: CkvError } = {};
    const answers = [sendOne(feedsOf(3), limits), ...send(4)];
    await answer();
    await answer();
    limits.ended = new CkvError('cancelled', 'the caller gave up');
    given[0]?.fail(bug);
    await turn();
    expect(texts()).toEqual(['rank 4']);
    await answer();
    expect(await Promise.all(answers)).toEqual(['cancelled', [4, 4]]);
  });

  it('is repeated by the worker that replaces one that died', async () => {
    const answers = await startBatch();
    deaths[0]?.();
    await turn();
    expect(given.map(({ thread, text }) => [thread, text])).toEqual([
      [1, 'rank 3'],
      [1, 'rank 4'],
    ]);
    for (let i = 0; i < 4; i++) await answer();
    expect(await Promise.all(answers)).toEqual([1, 2, 3, 4, 5, 6].map((item) => [item, item]));
  });

  it('is not repeated after the engine was closed', async () => {
    const answers = await startBatch();
    answers.push(...send(7));
    dispatcher.rejectAll();
    await pool.close();
    expect(await Promise.all(answers.slice(2))).toEqual(Array(5).fill('draining'));
    expect(texts()).toEqual([]);
  });
});

it('transfers the feeds of a batch, and leaves those of its runs as they were', async () => {
  send(1, 2);
  const feeds = [3, 4].map((item) => feedsOf(item, 10_000));
  for (const one of feeds) void sendOne(one);
  await answer();
  const [, batch] = given;
  expect(batch?.text).toBe('batch 3+4');
  expect(batch?.transfer).toEqual([batch?.feeds.item?.data.buffer]);
  expect(feeds.map(({ item }) => item?.data[9_999])).toEqual([3n, 4n]);
});
