import type { Tensors } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createWorkerPool, type PoolWorker, type WorkerPool } from './worker-pool.js';
import type { Command, WorkerThread } from './worker-thread.js';

/** A stand-in for a thread: it answers when the test says so. */
interface TestThread extends WorkerThread {
  /** Commands without an answer, by kind and graph. */
  readonly waiting: Map<string, { resolve(outputs: Tensors): void; reject(error: Error): void }>;
  die(error?: Error): void;
}

let threads: TestThread[];
let deaths: unknown[];
let readyCount: number;
let pool: WorkerPool;

function startThread(): TestThread {
  const waiting: TestThread['waiting'] = new Map();
  let die = (_?: Error): void => undefined;
  const ended = new Promise<unknown>((resolve) => {
    die = resolve;
  });
  const perform = ({ kind, graph }: Command) =>
    new Promise<Tensors>((resolve, reject) => waiting.set(`${kind} ${graph}`, { resolve, reject }));
  const thread = { waiting, ended, perform, die, terminate: async () => die() };
  threads.push(thread);
  return thread;
}

/** Answers a command of a thread, and lets the pool go on. */
async function answer(threadIndex: number, command: string): Promise<void> {
  const { waiting } = threads[threadIndex] as TestThread;
  await settled(() => waiting.get(command)?.resolve({}));
  waiting.delete(command);
}

/** Gives a worker as many runs, each of one user. */
const giveRuns = (worker: PoolWorker, count: number) => Object.assign(worker, { runCount: count, userCount: count });

/** Loads a graph. */
const load = (graph: string) => pool.load({ files: new Map([[graph, { path: `${graph}.onnx` }]]) });

/** Does something, then lets every promise that can settle do so. */
async function settled(action: () => void): Promise<void> {
  action();
  await vi.advanceTimersByTimeAsync(0);
}

beforeEach(() => {
  vi.useFakeTimers();
  threads = [];
  deaths = [];
  readyCount = 0;
  createPool(false);
});
afterEach(async () => {
  await pool.close();
  vi.useRealTimers();
});

function createPool(hasSpare: boolean): void {
  pool = createWorkerPool({
    settings: { provider: 'cpu', deviceIndex: 0, threadsPerWorker: 1 },
    hasSpare,
    onReady: () => {
      readyCount++;
    },
    onDeath: (error) => deaths.push(error),
    startThread,
  });
}

it('gives a run to the ready worker with the fewest users, and to none at the limit', () => {
  pool.start(2);
  const one = pool.leastBusy(1) as PoolWorker;
  expect(pool.idleCount()).toBe(2);
  giveRuns(one, 1);
  const other = pool.leastBusy(2) as PoolWorker;
  expect(other).not.toBe(one);
  expect(pool.idleCount()).toBe(1);
  giveRuns(other, 2);
  expect(pool.leastBusy(3)).toBe(one);
  giveRuns(one, 2);
  giveRuns(other, 1);
  expect(pool.leastBusy(3)).toBe(other);
  expect(pool.leastBusy(1)).toBeUndefined();
  other.userCount = 64; // a batch
  expect(pool.leastBusy(3)).toBe(one);
  expect(pool.leastBusy(2)).toBe(other);
});

it('replaces a ready worker at once, and makes the new one ready when it has every graph', async () => {
  pool.start(1);
  void load('a');
  await answer(0, 'load a');
  void load('b');
  await answer(0, 'load b');
  expect(readyCount).toBe(1);

  const error = new Error('out of memory');
  await settled(() => threads[0]?.die(error));
  expect(deaths).toEqual([error]);
  expect(threads).toHaveLength(2);
  await answer(1, 'load a');
  expect(pool.leastBusy(1)).toBeUndefined();
  expect(pool.idleCount()).toBe(0);
  await answer(1, 'load b');
  expect(pool.leastBusy(1)?.thread).toBe(threads[1]);
  expect(readyCount).toBe(2);

  const loaded = vi.fn();
  void load('c').then(loaded);
  await answer(1, 'load c');
  expect(loaded).toHaveBeenCalled();
});

it('loads no released graph into a new worker', async () => {
  pool.start(1);
  void load('a');
  await answer(0, 'load a');
  void pool.release('a');
  await answer(0, 'release a');
  await settled(() => threads[0]?.die());
  expect(threads[1]?.waiting.size).toBe(0);
  expect(pool.idleCount()).toBe(1);
});

it('frees a graph in a new worker if the graph is released while that worker loads it', async () => {
  pool.start(1);
  for (const graph of ['a', 'b']) {
    void load(graph);
    await answer(0, `load ${graph}`);
  }
  await settled(() => threads[0]?.die());
  void pool.release('a');
  await answer(1, 'release a'); // before the session exists
  await answer(1, 'load a');
  expect([...(threads[1]?.waiting.keys() ?? [])]).toEqual(['release a']);
  await answer(1, 'release a');
  await answer(1, 'load b');
  expect(pool.idleCount()).toBe(1);
});

it('loads a graph also into a worker that starts while others load it', async () => {
  pool.start(2);
  const loaded = vi.fn();
  void load('a').then(loaded);
  // The second worker is replaced after its answer, before that of the first. The new one has no graph to begin with.
  await answer(1, 'load a');
  await settled(() => threads[1]?.die());
  expect(threads).toHaveLength(3);
  await answer(0, 'load a');
  expect(loaded).not.toHaveBeenCalled();
  await answer(2, 'load a');
  expect(loaded).toHaveBeenCalled();
});

it('loads no graph twice into a worker', async () => {
  pool.start(1);
  void load('a');
  await answer(0, 'load a');
  await settled(() => threads[0]?.die());
  void load('b'); // while the new worker still loads the first graph
  await answer(1, 'load b');
  await answer(1, 'load a');
  expect(threads[1]?.waiting.size).toBe(0);
  expect(pool.idleCount()).toBe(1);
});

it('pauses longer after each further worker that ends before it is ready', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(1); // no jitter
  pool.start(1);
  void load('a');
  await answer(0, 'load a');
  await settled(() => threads[0]?.die());
  for (const [index, pauseMs] of [100, 200, 400].entries()) {
    expect(threads).toHaveLength(index + 2);
    await settled(() => threads[index + 1]?.waiting.get('load a')?.reject(new Error('the file is gone')));
    await vi.advanceTimersByTimeAsync(pauseMs - 1);
    expect(threads).toHaveLength(index + 2);
    await vi.advanceTimersByTimeAsync(1);
  }
  expect(threads).toHaveLength(5);
  vi.restoreAllMocks();
});

it('replaces nobody after it was closed', async () => {
  pool.start(2);
  await settled(() => void pool.close());
  await vi.advanceTimersByTimeAsync(60_000);
  expect(threads).toHaveLength(2);
  expect(deaths).toEqual([]);
});

describe('with a spare worker', () => {
  /** Indices of the threads that would take a run now. */
  const serving = () => {
    const found: number[] = [];
    const workers: PoolWorker[] = [];
    for (let one = pool.leastBusy(1); one; one = pool.leastBusy(1)) {
      found.push(threads.indexOf(one.thread as TestThread));
      workers.push(one);
      giveRuns(one, 1);
    }
    for (const one of workers) giveRuns(one, 0);
    return found.sort();
  };
  const spare = () => threads.indexOf(pool.spare()?.thread as TestThread);

  beforeEach(async () => {
    createPool(true);
    pool.start(2);
    void load('a');
    for (const thread of [0, 1, 2]) await answer(thread, 'load a');
  });

  it('loads the first graphs in all workers at once, and lets the spare one take no runs of requests', () => {
    expect(serving()).toEqual([0, 1]);
    expect(spare()).toBe(2);
    expect(pool.idleCount()).toBe(2);
  });

  it('loads later graphs in one worker after another, none of which serves meanwhile', async () => {
    const loaded = vi.fn();
    void load('b').then(loaded);
    expect(serving()).toEqual([0, 1]);
    expect(pool.spare()).toBeUndefined();
    await answer(2, 'load b');
    expect(serving()).toEqual([1, 2]);
    await answer(0, 'load b');
    expect(serving()).toEqual([0, 2]);
    expect(loaded).not.toHaveBeenCalled();
    await answer(1, 'load b');
    expect(loaded).toHaveBeenCalled();
    expect(serving()).toEqual([0, 2]);
    expect(spare()).toBe(1);
  });

  it('warms a worker up before it serves with the new graphs', async () => {
    const feeds = {};
    void pool.load({
      files: new Map([['b', { path: 'b.onnx' }]]),
      warmUps: [{ graph: 'b', feeds, keepFeeds: true }],
    });
    await answer(2, 'load b');
    expect(serving()).toEqual([0, 1]);
    await answer(2, 'run b');
    expect(serving()).toEqual([1, 2]);
  });

  it('rests three times as long as each step of a later load took, but not for long', async () => {
    const one: Tensors = {};
    const files = new Map(['b', 'c'].map((graph) => [graph, { path: `${graph}.onnx` }]));
    void pool.load({ files, warmUps: [{ graph: 'b', feeds: one, keepFeeds: true }] });
    for (const [command, stepMs, restMs, next] of [
      ['load b', 20, 60, 'load c'],
      ['load c', 2_000, 250, 'run b'],
    ] as const) {
      await vi.advanceTimersByTimeAsync(stepMs);
      await answer(2, command);
      await vi.advanceTimersByTimeAsync(restMs - 1);
      expect([...(threads[2]?.waiting.keys() ?? [])]).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect([...(threads[2]?.waiting.keys() ?? [])]).toEqual([next]);
    }
    await answer(2, 'run b');
  });

  it('lets the spare worker serve when another one dies, and gets a new spare one', async () => {
    await settled(() => threads[0]?.die());
    expect(serving()).toEqual([1, 2]);
    expect(pool.spare()).toBeUndefined();
    await answer(3, 'load a');
    expect(serving()).toEqual([1, 2]);
    expect(spare()).toBe(3);
  });

  it('serves with one worker less if one dies while the spare one loads, until a new one is ready', async () => {
    void load('b');
    await settled(() => threads[0]?.die());
    expect(serving()).toEqual([1]);
    await answer(3, 'load a');
    expect(serving()).toEqual([1, 3]);
  });

  it('names the graph that does not load', async () => {
    const failed = (key: string) => new Error(`${key} does not load`);
    const loading = pool.load({ files: new Map([['b', { path: 'b.onnx' }]]), failed });
    const outcome = expect(loading).rejects.toThrow('b does not load');
    threads[2]?.waiting.get('load b')?.reject(new Error('no graph'));
    await outcome;
    expect(serving()).toEqual([0, 1]);
  });
});
