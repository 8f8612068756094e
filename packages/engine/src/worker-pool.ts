import { allDone, backoffMs } from '@collectivekv/domain';
import type { WorkerSettings } from './protocol.js';
import { rest } from './rest.js';
import type { GraphRun } from './run-queue.js';
import { type OnRun, startWorkerThread, type WorkerThread } from './worker-thread.js';

/** The states of a worker. Every worker passes through them in this order. */
export type WorkerState =
  /** Its thread loads the graphs. It takes no runs. */
  | 'loading'
  /** Its thread has every graph. It takes runs. */
  | 'ready'
  /** Its thread has ended. Another worker takes its place, unless the pool is closed. */
  | 'ended';

/** What a worker is for. */
export type WorkerRole =
  /** It takes the runs of requests. */
  | 'serving'
  /** It loads graphs and takes background runs. */
  | 'spare';

/** A worker thread, and what the pool knows about it. */
export interface PoolWorker {
  readonly thread: WorkerThread;
  readonly state: WorkerState;
  readonly role: WorkerRole;
  /** Runs that the thread was given and has not answered. */
  runCount: number;
  /** Users of these runs: one of each run, or those of a batch. */
  userCount: number;
  /** When the thread began the first of these runs, by the steady clock. */
  begunMs: number;
  /** How long the last of these runs is expected to take, ms; 0 if that is not known. */
  expectedMs: number;
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

/** Graphs to load into every worker. */
export interface GraphLoad {
  /** By key, which names the graph. No two graphs of a pool share one. */
  readonly files: ReadonlyMap<string, GraphFile>;
  /** Runs of these graphs that each worker makes before it serves with them: the first run of a graph is slow. */
  readonly warmUps?: readonly GraphRun[];
  /** Returns the error to throw if a worker cannot load a graph, or cannot run it. */
  readonly failed?: (key: string, error: unknown) => unknown;
}

/** A fixed number of workers. Each holds every graph; the pool replaces those whose thread ends. */
export interface WorkerPool {
  readonly closed: boolean;
  /** Starts the workers, and the spare one if the pool has one. */
  start(workerCount: number): void;
  /** Returns the ready worker that serves with the fewest users; undefined if each has `limit` runs or more. */
  leastBusy(limit: number): PoolWorker | undefined;
  /** Returns the spare worker if it is ready and loads nothing. */
  spare(): PoolWorker | undefined;
  /** Ready workers that serve and have no run. */
  idleCount(): number;
  /**
   * Loads graphs into every worker, and into those that start later. With a spare worker, none loads while it serves:
   * the spare worker loads, then changes places with a worker that serves, which loads in turn. Only the first graphs
   * are loaded by all workers at once. Loads must not overlap.
   * @throws the error of the first worker that could not load a graph; call `release` to free the graphs in the others
   */
  load(graphs: GraphLoad): Promise<void>;
  /** Frees a graph in every worker. */
  release(key: string): Promise<void>;
  /** Ends the threads. */
  close(): Promise<void>;
}

/** Options of {@link createWorkerPool}. */
export interface WorkerPoolOptions {
  readonly settings: WorkerSettings;
  /** True starts a spare worker beside those that serve. */
  readonly hasSpare: boolean;
  /** Called when a worker becomes ready. */
  readonly onReady: () => void;
  /** Called when a thread ends while the pool is open, with the error that ended it. */
  readonly onDeath: (error: unknown) => void;
  readonly onRun?: OnRun;
  /** Starts a thread. Default: {@link startWorkerThread}. */
  readonly startThread?: () => WorkerThread;
}

interface Worker extends PoolWorker {
  state: WorkerState;
  role: WorkerRole;
  /** True while the thread loads graphs for {@link WorkerPool.load}. */
  busyLoading: boolean;
  /** Why it did not become ready. */
  problem?: unknown;
  /** Keys of the graphs that its thread has loaded. */
  readonly loaded: Set<string>;
}

const RESTART_PAUSE = { firstMs: 100, longestMs: 30_000 };

/** Creates a pool without workers. */
export function createWorkerPool({
  settings,
  hasSpare,
  onReady,
  onDeath,
  onRun,
  startThread = () => startWorkerThread(settings, onRun),
}: WorkerPoolOptions): WorkerPool {
  const graphs = new Map<string, GraphFile>(); // those that every ready worker has
  const workers = new Set<Worker>();
  /** Workers that serve while nobody has died. */
  let servingCount = 0;
  let closed = false;

  const countServing = () => [...workers].filter(({ role }) => role === 'serving').length;
  const idleSpare = () => [...workers].find((one) => one.role === 'spare' && one.state === 'ready' && !one.busyLoading);

  /** @param failureCount number of workers in a row that ended before they were ready */
  function startWorker(failureCount: number): void {
    const worker: Worker = {
      thread: startThread(),
      state: 'loading',
      role: countServing() < servingCount ? 'serving' : 'spare',
      busyLoading: false,
      runCount: 0,
      userCount: 0,
      begunMs: 0,
      expectedMs: 0,
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
    const successor = worker.role === 'serving' ? idleSpare() : undefined;
    if (successor) successor.role = 'serving';
    onDeath(error ?? worker.problem);
    if (failures === 0) startWorker(0);
    else setTimeout(() => !closed && startWorker(failures), backoffMs(failures, RESTART_PAUSE)).unref();
  }

  async function loadInto(worker: Worker, key: string, path: string): Promise<void> {
    await worker.thread.perform({ kind: 'load', graph: key, path });
    worker.loaded.add(key);
  }

  async function loadAll(
    worker: Worker,
    { files, warmUps = [], failed = (_, error) => error }: GraphLoad,
    afterStep: (stepMs: number) => Promise<void> = async () => undefined,
  ): Promise<void> {
    let current = '';
    const step = async (graph: string, work: Promise<unknown>) => {
      current = graph;
      const begunMs = performance.now();
      await work;
      await afterStep(performance.now() - begunMs);
    };
    worker.busyLoading = true;
    try {
      for (const [key, { path }] of files) await step(key, loadInto(worker, key, path));
      for (const { graph, feeds } of warmUps) await step(graph, worker.thread.perform({ kind: 'run', graph, feeds }));
    } catch (error) {
      throw failed(current, error);
    } finally {
      worker.busyLoading = false;
    }
  }

  /**
   * Loads graphs into one of the workers that lack them, while it does not serve. Requests go to the spare worker, which
   * has the graphs by then: the worker that serves is the last one to lack them. Rests after each step.
   */
  async function loadOffPath(lacking: readonly Worker[], load: GraphLoad): Promise<void> {
    const next = lacking.find(({ role, state }) => role === 'spare' || state === 'loading') ?? lacking[0];
    if (next?.role === 'serving' && next.state === 'ready') {
      const spare = idleSpare();
      if (spare) [spare.role, next.role] = ['serving', 'spare'];
      onReady(); // there are places for runs again
    }
    if (next) await loadAll(next, load, rest);
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
      servingCount = workerCount;
      for (let i = 0; i < workerCount + (hasSpare ? 1 : 0); i++) startWorker(0);
    },

    spare: idleSpare,

    leastBusy(limit) {
      let found: Worker | undefined;
      for (const worker of workers) {
        if (worker.role !== 'serving' || worker.state !== 'ready' || worker.runCount >= limit) continue;
        if (!found || worker.userCount < found.userCount) found = worker;
      }
      return found;
    },

    idleCount() {
      let count = 0;
      for (const { role, state, runCount } of workers) {
        if (role === 'serving' && state === 'ready' && runCount === 0) count++;
      }
      return count;
    },

    async load(load) {
      const keys = [...load.files.keys()];
      const lacking = () => [...workers].filter(({ loaded }) => !keys.every((key) => loaded.has(key)));
      // Another worker may start meanwhile. It needs the graphs as well before it is ready.
      if (graphs.size === 0 || !hasSpare) {
        for (let next = lacking(); next.length > 0; next = lacking()) {
          await allDone(next.map((worker) => loadAll(worker, load)));
        }
      } else {
        for (let next = lacking(); next.length > 0; next = lacking()) await loadOffPath(next, load);
      }
      for (const [key, file] of load.files) graphs.set(key, file);
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
