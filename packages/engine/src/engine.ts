import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type Tensors, toCkvError } from '@collectivekv/domain';
import type { Provider } from './protocol.js';
import { loadError, requireProvider } from './provider.js';
import { createRunQueue, type RunLimits, unwanted } from './run-queue.js';
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

/**
 * Creates an engine.
 * @throws provider_missing with what to install
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  requireProvider(options.provider);
  const queue = createRunQueue(options.queueLimit);
  const loaded = new Map<string, string>(); // key -> path
  const workers = new Set<WorkerThread>();
  const idle: WorkerThread[] = [];
  let nextSet = 1;
  let closed = false;

  async function addWorker(failureCount = 0): Promise<void> {
    const worker = startWorkerThread(options);
    workers.add(worker);
    let able = false;
    void worker.ended.then(async () => {
      workers.delete(worker);
      const at = idle.indexOf(worker);
      if (at >= 0) idle.splice(at, 1);
      await sleep(able ? 0 : Math.min(RESTART_DELAY_MS * 2 ** failureCount, MAX_RESTART_DELAY_MS), undefined, {
        ref: false,
      });
      if (!closed) await addWorker(able ? 0 : failureCount + 1).catch(() => undefined);
    });
    try {
      for (const [graph, path] of loaded) await worker.perform({ kind: 'load', graph, path });
    } catch (error) {
      await worker.terminate(); // its end starts the next try
      throw error;
    }
    able = true;
    idle.push(worker);
    dispatch();
  }

  function dispatch(): void {
    while (idle.length > 0) {
      const run = queue.shift();
      if (!run) return;
      const worker = idle.pop() as WorkerThread;
      perform(worker, run.graph, run.feeds).then(run.resolve, run.reject);
    }
  }

  /** Runs a graph now, or when its turn comes. */
  function enqueue(graph: string, feeds: Tensors, limits: RunLimits): Promise<Tensors> {
    const worker = idle.pop(); // where one is idle, nothing waits
    if (!worker) return queue.push(graph, feeds, limits);
    const refused = unwanted(limits);
    if (!refused) return perform(worker, graph, feeds);
    idle.push(worker);
    return Promise.reject(refused);
  }

  async function perform(worker: WorkerThread, graph: string, feeds: Tensors): Promise<Tensors> {
    try {
      return await worker.perform({ kind: 'run', graph, feeds });
    } catch (error) {
      throw toCkvError(error);
    } finally {
      if (workers.has(worker)) idle.push(worker);
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
