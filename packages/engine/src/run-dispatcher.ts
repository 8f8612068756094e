import { CkvError, type RunExtent, steadyNowMs, type Tensors, toCkvError } from '@collectivekv/domain';
import { rest } from './rest.js';
import {
  createRunQueue,
  type GraphRun,
  type QueuedRun,
  type RunLimits,
  type TimedBatching,
  unwanted,
} from './run-queue.js';
import { transferable } from './transferable.js';
import type { PoolWorker, WorkerPool } from './worker-pool.js';

/** Runs that a worker may have: it starts the second while the outputs of the first travel to the main thread. */
const RUNS_PER_WORKER = 2;

/** Background runs that may wait. */
const BACKGROUND_LIMIT = 256;

/**
 * Gives runs to workers. While every worker has its share, runs wait in a queue. Those with one batching leave it
 * together, as one run.
 */
export interface RunDispatcher {
  readonly queuedCount: number;
  /** True if a worker could take another run now. */
  readonly hungry: boolean;
  /**
   * Runs a graph now, or when its turn comes.
   * @throws overloaded, deadline or `limits.ended` if the run did not start
   * @throws draining after the pool was closed
   * @throws dependency_unavailable if the worker died
   * @throws bug if onnxruntime refuses the feeds
   */
  run(run: GraphRun, limits: RunLimits): Promise<Tensors>;
  /** Gives the waiting runs to the workers that can take one. */
  dispatch(): void;
  /** Rejects the waiting runs. */
  rejectAll(): void;
}

/** Called after each batch, with its users, and whether it failed. Then each of its runs is repeated alone. */
export type OnBatch = (userCount: number, failed: boolean) => void;

/** Options of {@link createRunDispatcher}. */
export interface RunDispatcherOptions {
  readonly pool: WorkerPool;
  /** Most runs that wait. */
  readonly queueLimit: number;
  /** True if the pool has a spare worker, which takes background runs. */
  readonly hasSpare: boolean;
  readonly onBatch?: OnBatch | undefined;
}

/** Creates a dispatcher. */
export function createRunDispatcher({ pool, queueLimit, hasSpare, onBatch }: RunDispatcherOptions): RunDispatcher {
  const queue = createRunQueue(queueLimit);
  const background = createRunQueue(BACKGROUND_LIMIT);
  /** True from the start of a background run until the rest after it is over. */
  let backgroundBusy = false;
  /** Runs for requests that were started. */
  let startedCount = 0;

  /** Runs a graph. A run with batching has an extent for each of its users, and adds its time to those of the batching. */
  async function perform(worker: PoolWorker, run: GraphRun, extents = extentsOf(run)): Promise<Tensors> {
    const { graph, feeds, keepFeeds, batching } = run;
    const userCount = Math.max(1, extents.length);
    const cellCount = batching?.cellCountOf(extents) ?? 0;
    if (worker.role === 'serving') startedCount++;
    if (worker.runCount === 0) worker.begunMs = steadyNowMs();
    worker.expectedMs = batching?.times.expectedMs(cellCount) ?? 0;
    worker.runCount++;
    worker.userCount += userCount;
    try {
      const outputs = await worker.thread.perform({ kind: 'run', graph, feeds }, keepFeeds ? [] : transferable(feeds));
      batching?.times.add(cellCount, steadyNowMs() - worker.begunMs);
      return outputs;
    } catch (error) {
      throw pool.closed ? closedError() : toCkvError(error);
    } finally {
      worker.begunMs = steadyNowMs();
      worker.runCount--;
      worker.userCount -= userCount;
      dispatch();
    }
  }

  /** Runs a batch. If it fails, each of its runs is repeated alone, so that one user cannot fail the others. */
  async function performBatch(worker: PoolWorker, runs: readonly QueuedRun[], batching: TimedBatching): Promise<void> {
    try {
      const all = runs.map(({ run }) => run.feeds);
      const run = { graph: batching.graph, feeds: batching.join(all), keepFeeds: false, batching };
      const outputs = await perform(worker, run, all.map(batching.extentOf));
      const parts = batching.split(outputs, all);
      onBatch?.(runs.length, false);
      for (const [i, { resolve }] of runs.entries()) resolve(parts[i] ?? {});
    } catch (error) {
      if (pool.closed) {
        for (const { reject } of runs) reject(error);
        return;
      }
      onBatch?.(runs.length, true);
      queue.putBack(runs);
      dispatch();
    }
  }

  function dispatch(): void {
    dispatchBackground();
    for (let worker = pool.leastBusy(RUNS_PER_WORKER); worker; worker = pool.leastBusy(RUNS_PER_WORKER)) {
      // A small batch behind a large one would leave others to wait for both: it grows until the large one is done.
      const runs = queue.take(Math.max(1, worker.userCount), freeMs(worker));
      const [first] = runs;
      if (!first) return;
      const { batching } = first.run;
      if (batching && runs.length > 1) void performBatch(worker, runs, batching);
      else perform(worker, first.run).then(first.resolve, first.reject);
    }
  }

  /** Gives the next background run to the spare worker, unless it has one, loads graphs, or rests. */
  function dispatchBackground(): void {
    const spare = pool.spare();
    if (!spare || backgroundBusy) return;
    const [next] = background.take(1);
    if (next) void performInBackground(spare, next);
  }

  /** Rests after the run if a request had a run meanwhile. */
  async function performInBackground(spare: PoolWorker, { run, resolve, reject }: QueuedRun): Promise<void> {
    backgroundBusy = true;
    const [begunMs, startedBefore] = [performance.now(), startedCount];
    await perform(spare, run).then(resolve, reject);
    if (startedCount > startedBefore) await rest(performance.now() - begunMs);
    backgroundBusy = false;
    dispatchBackground();
  }

  return {
    get queuedCount() {
      return queue.length;
    },
    get hungry() {
      return queue.length === 0 && pool.leastBusy(RUNS_PER_WORKER) !== undefined;
    },
    run(run, limits) {
      if (pool.closed) return Promise.reject(closedError());
      if (limits.background && hasSpare) {
        const answer = background.push({ ...run, batching: undefined }, limits);
        dispatchBackground();
        return answer;
      }
      const idle = pool.leastBusy(1);
      if (idle) {
        const refusal = unwanted(limits);
        return refusal ? Promise.reject(refusal) : perform(idle, run);
      }
      const answer = queue.push(run, limits);
      dispatch();
      return answer;
    },
    dispatch,
    rejectAll() {
      queue.rejectAll(closedError());
      background.rejectAll(closedError());
    },
  };
}

function extentsOf({ feeds, batching }: GraphRun): RunExtent[] {
  return batching ? [batching.extentOf(feeds)] : [];
}

/** Returns when the worker is expected to start its next run, by the steady clock. */
function freeMs({ runCount, begunMs, expectedMs }: PoolWorker): number {
  return Math.max(steadyNowMs(), runCount > 0 ? begunMs + expectedMs : 0);
}

function closedError(): CkvError {
  return new CkvError('draining', 'the engine is closed');
}
