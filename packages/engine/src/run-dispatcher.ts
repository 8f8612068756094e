import { CkvError, type Tensors, toCkvError } from '@collectivekv/domain';
import { createRunQueue, type GraphRun, type RunLimits, unwanted } from './run-queue.js';
import { transferable } from './transferable.js';
import type { PoolWorker, WorkerPool } from './worker-pool.js';

/** Runs that a worker may have: it starts the second while the outputs of the first travel to the main thread. */
const RUNS_PER_WORKER = 2;

/** Background runs that may wait. */
const BACKGROUND_LIMIT = 256;

/** Gives runs to workers. While every worker has its share, runs wait in a queue. */
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

/** Creates a dispatcher. `queueLimit` bounds the waiting runs. */
export function createRunDispatcher(pool: WorkerPool, queueLimit: number, hasSpare: boolean): RunDispatcher {
  const queue = createRunQueue(queueLimit);
  const background = createRunQueue(BACKGROUND_LIMIT);

  async function perform(worker: PoolWorker, { graph, feeds, keepFeeds }: GraphRun): Promise<Tensors> {
    worker.runCount++;
    try {
      return await worker.thread.perform({ kind: 'run', graph, feeds }, keepFeeds ? [] : transferable(feeds));
    } catch (error) {
      throw pool.closed ? closedError() : toCkvError(error);
    } finally {
      worker.runCount--;
      dispatch();
    }
  }

  function dispatch(): void {
    dispatchBackground();
    for (let worker = pool.leastBusy(RUNS_PER_WORKER); worker; worker = pool.leastBusy(RUNS_PER_WORKER)) {
      const run = queue.shift();
      if (!run) return;
      perform(worker, run).then(run.resolve, run.reject);
    }
  }

  /** Gives the next background run to the spare worker, unless it has one, or loads graphs. */
  function dispatchBackground(): void {
    const spare = pool.spare();
    if (!spare || spare.runCount > 0) return;
    const run = background.shift();
    if (run) perform(spare, run).then(run.resolve, run.reject);
  }

  return {
    get queuedCount() {
      return queue.length;
    },
    get hungry() {
      return pool.leastBusy(RUNS_PER_WORKER) !== undefined;
    },
    run(run, limits) {
      if (pool.closed) return Promise.reject(closedError());
      if (limits.background && hasSpare) {
        const answer = background.push(run, limits);
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

function closedError(): CkvError {
  return new CkvError('draining', 'the engine is closed');
}
