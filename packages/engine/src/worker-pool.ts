import { allDone, backoffMs } from '@collectivekv/domain';
import type { WorkerSettings } from './protocol.js';
import { startWorkerThread, type WorkerThread } from './worker-thread.js';

/** The states of a worker. Every worker passes through them in this order. */
export type WorkerState =
  /** Its thread loads the graphs. It takes no runs. */
  | 'loading'
  /** Its thread has every graph. It takes runs. */
  | 'ready'
  /** Its thread has ended. Another worker takes its place, unless the pool is closed. */
  | 'ended';

/** A worker thread, and what the pool knows about it. */
export interface PoolWorker {
  readonly thread: WorkerThread;
  readonly state: WorkerState;
  /** Runs that the thread was given and has not answered. */
  runCount: number;
}

/** Where workers load a graph from. */
export interface GraphFile {
  /** Needed until the graph is loaded, and later too if there is no `reopen`. */
  readonly path: string;
  /**
   * Makes the file available again, for a worker that replaces another. `close` is called when it has loaded the graph.
   */
  readonly reopen?: () => Promise<{ readonly path: string; close(): Promise<void> }>;
}

/** A fixed number of workers. Each holds every graph; the pool replaces those whose thread ends. */
export interface WorkerPool {
  readonly closed: boolean;
  /** Starts the workers. */
  start(workerCount: number): void;
  /** Returns the ready worker with the fewest runs; undefined if each has `limit` runs or more. */
  leastBusy(limit: number): PoolWorker | undefined;
  /** Ready workers without a run. */
  idleCount(): number;
  /**
   * Loads a graph into every worker, and into those that start later.
   * @param key names the graph; no two graphs of a pool share one
   * @throws the error of the first worker that could not load the graph; call `release` to free it in the others
   */
  load(key: string, file: GraphFile): Promise<void>;
  /** Frees a graph in every worker. */
  release(key: string): Promise<void>;
  /** Ends the threads. */
  close(): Promise<void>;
}

/** Options of {@link createWorkerPool}. */
export interface WorkerPoolOptions {
  readonly settings: WorkerSettings;
  /** Called when a worker becomes ready. */
  readonly onReady: () => void;
  /** Called when a thread ends while the pool is open, with the error that ended it. */
  readonly onDeath: (error: unknown) => void;
  /** Starts a thread. Default: {@link startWorkerThread}. */
  readonly startThread?: () => WorkerThread;
}

interface Worker extends PoolWorker {
  state: WorkerState;
  /** Why it did not become ready. */
  problem?: unknown;
  /** Keys of the graphs that its thread has loaded. */
  readonly loaded: Set<string>;
}

const RESTART_PAUSE = { firstMs: 100, longestMs: 30_000 };

/** Creates a pool without workers. */
export function createWorkerPool({
  settings,
  onReady,
  onDeath,
  startThread = () => startWorkerThread(settings),
}: WorkerPoolOptions): WorkerPool {
  const graphs = new Map<string, GraphFile>(); // those that every ready worker has
  const workers = new Set<Worker>();
  let closed = false;

  /** @param failureCount number of workers in a row that ended before they were ready */
  function startWorker(failureCount: number): void {
    const worker: Worker = {
      thread: startThread(),
      state: 'loading',
      runCount: 0,
      loaded: new Set(),
    };
    workers.add(worker);
    void worker.thread.ended.then((error) => endWorker(worker, failureCount, error));
    void becomeReady(worker);
  }

  async function becomeReady(worker: Worker): Promise<void> {
    try {
      for (const [key, file] of graphs) {
        if (worker.loaded.has(key)) continue;
        const reopened = await file.reopen?.();
        try {
          await loadInto(worker, key, reopened?.path ?? file.path);
        } finally {
          await reopened?.close();
        }
        if (!graphs.has(key)) await releaseFrom(worker, key); // `release` came before the thread had a session to free
      }
    } catch (error) {
      worker.problem = error;
      await worker.thread.terminate(); // endWorker starts the next one
      return;
    }
    worker.state = 'ready';
    onReady();
  }

  function endWorker(worker: Worker, failureCount: number, error: unknown): void {
    const failures = worker.state === 'ready' ? 0 : failureCount + 1;
    worker.state = 'ended';
    workers.delete(worker);
    if (closed) return;
    onDeath(error ?? worker.problem);
    if (failures === 0) startWorker(0);
    else setTimeout(() => !closed && startWorker(failures), backoffMs(failures, RESTART_PAUSE)).unref();
  }

  async function loadInto(worker: Worker, key: string, path: string): Promise<void> {
    await worker.thread.perform({ kind: 'load', graph: key, path });
    worker.loaded.add(key);
  }

  async function releaseFrom({ thread, loaded }: Worker, key: string): Promise<void> {
    await thread.perform({ kind: 'release', graph: key });
    loaded.delete(key);
  }

  return {
    get closed() {
      return closed;
    },

    start(workerCount) {
      for (let i = 0; i < workerCount; i++) startWorker(0);
    },

    leastBusy(limit) {
      let found: Worker | undefined;
      let fewest = limit;
      for (const worker of workers) {
        if (worker.state !== 'ready' || worker.runCount >= fewest) continue;
        found = worker;
        fewest = worker.runCount;
      }
      return found;
    },

    idleCount() {
      let count = 0;
      for (const { state, runCount } of workers) if (state === 'ready' && runCount === 0) count++;
      return count;
    },

    async load(key, file) {
      const lacking = () => [...workers].filter((worker) => !worker.loaded.has(key));
      // Another worker may start while these load the graph. It needs the graph as well before it is ready.
      for (let next = lacking(); next.length > 0; next = lacking()) {
        await allDone(next.map((worker) => loadInto(worker, key, file.path)));
      }
      graphs.set(key, file);
    },

    async release(key) {
      graphs.delete(key);
      const released = [...workers].map((worker) => releaseFrom(worker, key));
      await Promise.allSettled(released); // a thread that ended has freed its sessions
    },

    async close() {
      closed = true;
      await Promise.all([...workers].map(({ thread }) => thread.terminate()));
    },
  };
}
