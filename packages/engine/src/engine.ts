import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type Tensors, toCkvError } from '@collectivekv/domain';
import type { Provider } from './protocol.js';
import { loadError, requireProvider } from './provider.js';
import { createRunQueue, type GraphRun, type RunLimits, unwanted } from './run-queue.js';
import { transferable } from './transferable.js';
import { startWorkerThread, type WorkerThread } from './worker-thread.js';

const RESTART_DELAY_MS = 100;
const MAX_RESTART_DELAY_MS = 30_000;

/** Options of {@link createEngine}. */
export interface EngineOptions {
  readonly provider: Provider;
  /** Worker threads; each holds every loaded graph and runs one at a time. */
  readonly workerCount: number;
  /** Threads that one run may use. */
  readonly threadsPerWorker: number;
  /** Runs that may wait, beside the two that each worker is given. */
  readonly queueLimit: number;
  /** Called when a worker died that is being replaced, with the error that ended it. */
  readonly onWorkerDeath?: (error: unknown) => void;
}

/** Graphs that were loaded together. */
export interface GraphSet {
  /**
   * Runs a graph. The feeds are given up: large buffers that a tensor fills wholly are transferred, not copied.
   * @throws overloaded, deadline or the caller's end where it did not start; dependency_unavailable where the worker died; bug where
   * onnxruntime refuses the feeds
   */
  run(graph: string, feeds: Tensors, limits?: RunLimits): Promise<Tensors>;
  /** Runs a graph over several feeds, which may share tensors, at once; throws as `run` does. */
  runEach(graph: string, parts: readonly Tensors[], limits?: RunLimits): Promise<Tensors[]>;
  /** Workers that would start on a run at once. */
  readonly idleWorkerCount: number;
  /** Waits for the runs in flight, then frees the sessions. */
  close(): Promise<void>;
}

/** onnxruntime sessions in worker threads. */
export interface Engine {
  readonly queuedCount: number;
  /** Loads graphs into every worker. Throws bundle_invalid or provider_missing. */
  load(graphs: Readonly<Record<string, { readonly path: string }>>): Promise<GraphSet>;
  /** Rejects what waits and ends the threads. */
  close(): Promise<void>;
}

/**
 * Creates an engine.
 * @throws provider_missing with what to install
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  requireProvider(options.provider);
  const queue = createRunQueue(options.queueLimit);
  const loaded = new Map<string, string>(); // key -> path
  const workers = new Set<WorkerThread>();
  const able = new Map<WorkerThread, number>(); // those that have every graph, with their runs
  let nextSet = 1;
  let closed = false;

  const closedError = () => new CkvError('draining', 'the engine is closed');

  async function addWorker(failureCount = 0): Promise<void> {
    const worker = startWorkerThread({ provider: options.provider, threadsPerWorker: options.threadsPerWorker });
    workers.add(worker);
    let ready = false;
    void worker.ended.then(async (error) => {
      workers.delete(worker);
      able.delete(worker);
      if (!closed) options.onWorkerDeath?.(error);
      await sleep(ready ? 0 : Math.min(RESTART_DELAY_MS * 2 ** failureCount, MAX_RESTART_DELAY_MS), undefined, {
        ref: false,
      });
      if (!closed) await addWorker(ready ? 0 : failureCount + 1).catch(() => undefined);
    });
    try {
      for (const [graph, path] of loaded) await worker.perform({ kind: 'load', graph, path });
    } catch (error) {
      await worker.terminate(); // its end starts the next try
      throw error;
    }
    ready = true;
    able.set(worker, 0);
    dispatch();
  }

  /** A worker with fewer runs than that; one that has none before others. */
  function workerBelow(runs: number): WorkerThread | undefined {
    let found: WorkerThread | undefined;
    let fewest = runs;
    for (const [worker, count] of able) {
      if (count >= fewest) continue;
      found = worker;
      fewest = count;
    }
    return found;
  }

  function idleWorkerCount(): number {
    let count = 0;
    for (const runs of able.values()) if (runs === 0) count++;
    return count;
  }

  /** Gives workers what waits: a second run, too, to go on with while the first's outputs are on their way. */
  function dispatch(): void {
    for (let worker = workerBelow(2); worker; worker = workerBelow(2)) {
      const run = queue.shift();
      if (!run) return;
      perform(worker, run).then(run.resolve, run.reject);
    }
  }

  /** Runs a graph now, or when its turn comes. */
  function enqueue(run: GraphRun, limits: RunLimits): Promise<Tensors> {
    const idle = workerBelow(1); // where one is idle, nothing waits
    if (idle) {
      const refused = unwanted(limits);
      return refused ? Promise.reject(refused) : perform(idle, run);
    }
    const answer = queue.push(run, limits);
    dispatch();
    return answer;
  }

  async function perform(worker: WorkerThread, { graph, feeds, keepFeeds }: GraphRun): Promise<Tensors> {
    countRuns(worker, 1);
    try {
      return await worker.perform({ kind: 'run', graph, feeds }, keepFeeds ? [] : transferable(feeds));
    } catch (error) {
      throw closed ? closedError() : toCkvError(error);
    } finally {
      countRuns(worker, -1);
      dispatch();
    }
  }

  function countRuns(worker: WorkerThread, change: number): void {
    const runs = able.get(worker);
    if (runs !== undefined) able.set(worker, runs + change); // a dead one is gone from there
  }

  await Promise.all(Array.from({ length: options.workerCount }, () => addWorker()));

  return {
    get queuedCount() {
      return queue.length;
    },

    async load(graphs) {
      const prefix = `${nextSet++}:`;
      async function release(): Promise<void> {
        for (const graph of Object.keys(graphs)) {
          loaded.delete(prefix + graph);
          const releases = [...workers].map((worker) => worker.perform({ kind: 'release', graph: prefix + graph }));
          await Promise.allSettled(releases);
        }
      }
      for (const [graph, { path }] of Object.entries(graphs)) {
        const key = prefix + graph;
        const loads = [...workers].map((worker) => worker.perform({ kind: 'load', graph: key, path }));
        const failed = (await Promise.allSettled(loads)).find((load) => load.status === 'rejected');
        if (failed) {
          await release(); // else a worker that is replaced would load what may be gone by then
          throw loadError(options.provider, graph, toCkvError(failed.reason));
        }
        loaded.set(key, path);
      }
      const inFlight = new Set<Promise<unknown>>();
      let released = false;
      async function run(graph: string, feeds: Tensors, limits: RunLimits, keepFeeds: boolean): Promise<Tensors> {
        if (released || closed) throw new CkvError('draining', 'the graphs are closed');
        if (!(graph in graphs)) throw new CkvError('bug', `graph ${graph} was not loaded`);
        const answer = enqueue({ graph: prefix + graph, feeds, keepFeeds }, limits);
        inFlight.add(answer);
        try {
          return await answer;
        } catch (thrown) {
          const error = toCkvError(thrown);
          throw error.reason === 'bug'
            ? new CkvError('bug', `graph ${graph}: ${error.message}`, { cause: error })
            : error;
        } finally {
          inFlight.delete(answer);
        }
      }
      return {
        run: (graph, feeds, limits = {}) => run(graph, feeds, limits, false),
        // Runs start in order, so the last part may give its tensors up when the others have theirs.
        runEach: (graph, parts, limits = {}) =>
          Promise.all(parts.map((feeds, i) => run(graph, feeds, limits, i < parts.length - 1))),
        get idleWorkerCount() {
          return idleWorkerCount();
        },
        async close() {
          if (released) return;
          released = true;
          await Promise.allSettled(inFlight);
          await release();
        },
      };
    },

    async close() {
      closed = true;
      queue.rejectAll(closedError());
      await Promise.all([...workers].map((worker) => worker.terminate()));
    },
  };
}
