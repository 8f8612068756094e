import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type Tensors, toCkvError } from '@collectivekv/domain';
import type { Provider } from './protocol.js';
import { loadError, requireProvider } from './provider.js';
import { createRunQueue, type QueuedRun, type RunLimits, unwanted } from './run-queue.js';
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
  /** Runs that may wait for a worker. */
  readonly queueLimit: number;
}

/** Graphs that were loaded together. */
export interface GraphSet {
  /**
   * Runs a graph. The feeds are given up: large buffers that a tensor fills wholly are transferred, not copied.
   * @throws overloaded, deadline or cancelled while queued; dependency_unavailable where the worker died; bug where
   * onnxruntime refuses the feeds
   */
  run(graph: string, feeds: Tensors, limits?: RunLimits): Promise<Tensors>;
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

/** What a worker has in hand: a run, and the one that it goes on with while the first's outputs are on their way. */
interface Hands {
  runs: number;
  /** That one, until the worker comes to it. */
  next: QueuedRun | undefined;
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
  const able = new Map<WorkerThread, Hands>(); // those that have every graph
  let nextSet = 1;
  let closed = false;

  async function addWorker(failureCount = 0): Promise<void> {
    const worker = startWorkerThread(options);
    workers.add(worker);
    let ready = false;
    void worker.ended.then(async () => {
      workers.delete(worker);
      able.delete(worker);
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
    able.set(worker, { runs: 0, next: undefined });
    dispatch();
  }

  /** A worker with fewer runs than that; one that has none before others. */
  function workerBelow(runs: number): WorkerThread | undefined {
    let found: WorkerThread | undefined;
    let fewest = runs;
    for (const [worker, hands] of able) {
      if (hands.runs >= fewest) continue;
      found = worker;
      fewest = hands.runs;
    }
    return found;
  }

  function dispatch(): void {
    for (let worker = workerBelow(2); worker; worker = workerBelow(2)) {
      const run = queue.shift();
      if (!run) return;
      const hands = able.get(worker) as Hands;
      if (hands.runs === 0) run.start();
      else hands.next = run;
      perform(worker, run.graph, run.feeds).then(run.resolve, run.reject);
    }
  }

  /** Runs a graph now, or when its turn comes. */
  function enqueue(graph: string, feeds: Tensors, limits: RunLimits): Promise<Tensors> {
    const idle = workerBelow(1); // where one is idle, nothing waits
    if (idle) {
      const refused = unwanted(limits);
      return refused ? Promise.reject(refused) : perform(idle, graph, feeds);
    }
    const run = queue.push(graph, feeds, limits);
    dispatch();
    return run;
  }

  async function perform(worker: WorkerThread, graph: string, feeds: Tensors): Promise<Tensors> {
    const hands = able.get(worker) as Hands;
    hands.runs++;
    try {
      return await worker.perform({ kind: 'run', graph, feeds });
    } catch (error) {
      throw toCkvError(error);
    } finally {
      hands.runs--;
      hands.next?.start();
      hands.next = undefined;
      dispatch();
    }
  }

  await Promise.all(Array.from({ length: options.workerCount }, () => addWorker()));

  return {
    get queuedCount() {
      return queue.length;
    },

    async load(graphs) {
      const prefix = `${nextSet++}:`;
      for (const [graph, { path }] of Object.entries(graphs)) {
        const key = prefix + graph;
        const loads = [...workers].map((worker) => worker.perform({ kind: 'load', graph: key, path }));
        const failed = (await Promise.allSettled(loads)).find((load) => load.status === 'rejected');
        if (failed) throw loadError(options.provider, graph, toCkvError(failed.reason));
        loaded.set(key, path);
      }
      const inFlight = new Set<Promise<unknown>>();
      let released = false;
      return {
        async run(graph, feeds, limits = {}) {
          if (released || closed) throw new CkvError('draining', 'the graphs are closed');
          if (!(graph in graphs)) throw new CkvError('bug', `graph ${graph} was not loaded`);
          const run = enqueue(prefix + graph, feeds, limits);
          inFlight.add(run);
          try {
            return await run;
          } catch (thrown) {
            const error = toCkvError(thrown);
            throw error.reason === 'bug'
              ? new CkvError('bug', `graph ${graph}: ${error.message}`, { cause: error })
              : error;
          } finally {
            inFlight.delete(run);
          }
        },
        async close() {
          if (released) return;
          released = true;
          await Promise.allSettled(inFlight);
          for (const graph of Object.keys(graphs)) {
            loaded.delete(prefix + graph);
            const releases = [...workers].map((worker) => worker.perform({ kind: 'release', graph: prefix + graph }));
            await Promise.allSettled(releases);
          }
        },
      };
    },

    async close() {
      closed = true;
      queue.rejectAll(new CkvError('draining', 'the engine is closed'));
      await Promise.all([...workers].map((worker) => worker.terminate()));
    },
  };
}
