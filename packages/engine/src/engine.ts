import { type Tensors, toCkvError } from '@collectivekv/domain';
import { createGraphSet, type GraphSet } from './graph-set.js';
import type { Provider } from './protocol.js';
import { loadError, requireProvider } from './provider.js';
import { createRunDispatcher } from './run-dispatcher.js';
import { createWorkerPool, type GraphFile } from './worker-pool.js';

/** Options of {@link createEngine}. */
export interface EngineOptions {
  readonly provider: Provider;
  /** Worker threads. Each holds every loaded graph and runs one graph at a time. */
  readonly workerCount: number;
  /** Threads that one run may use. */
  readonly threadsPerWorker: number;
  /**
   * True adds a worker thread that does not serve: it loads graphs and takes background runs, and changes places with
   * the others so that none loads while it serves. Default: false, and loading a graph stops every worker.
   */
  readonly spare?: boolean;
  /** Runs that may wait, besides the two that each worker is given. */
  readonly queueLimit: number;
  /** Called when a worker died and is to be replaced, with the error that ended it. */
  readonly onWorkerDeath?: (error: unknown) => void;
}

/** Options of {@link Engine.load}. */
export interface LoadGraphsOptions {
  /** Runs that each worker makes before it serves with these graphs: the first run of a graph is slow. */
  readonly warmUps?: readonly { readonly graph: string; readonly feeds: Tensors }[];
}

/** onnxruntime sessions in worker threads. */
export interface Engine {
  /** Runs that wait for a worker. */
  readonly queuedCount: number;
  /** True if a worker could take another run now. */
  readonly hungry: boolean;
  /**
   * Loads graphs into every worker, after the loads that were begun before.
   * @throws bundle_invalid, provider_missing; dependency_unavailable if a worker died
   */
  load(graphs: Readonly<Record<string, GraphFile>>, options?: LoadGraphsOptions): Promise<GraphSet>;
  /** Rejects the waiting runs and ends the threads. */
  close(): Promise<void>;
}

/**
 * Creates an engine and starts its workers.
 * @throws provider_missing with what to install
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { provider, threadsPerWorker, spare: hasSpare = false } = options;
  requireProvider(provider);
  const pool = createWorkerPool({
    settings: { provider, threadsPerWorker },
    hasSpare,
    onReady: () => dispatcher.dispatch(),
    onDeath: (error) => options.onWorkerDeath?.(error),
  });
  const dispatcher = createRunDispatcher(pool, options.queueLimit, hasSpare);
  pool.start(options.workerCount);
  let setCount = 0;
  let latestLoad: Promise<unknown> = Promise.resolve();

  async function load(
    graphs: Readonly<Record<string, GraphFile>>,
    { warmUps = [] }: LoadGraphsOptions,
  ): Promise<GraphSet> {
    const set = ++setCount;
    const names = Object.keys(graphs);
    const keyOf = (graph: string) => `${set}:${graph}`;
    const release = async () => {
      for (const graph of names) await pool.release(keyOf(graph));
    };
    try {
      await pool.load({
        files: new Map(Object.entries(graphs).map(([graph, file]) => [keyOf(graph), file])),
        warmUps: warmUps.map(({ graph, feeds }) => ({ graph: keyOf(graph), feeds, keepFeeds: true })),
        failed: (key, thrown) => loadError(provider, key.slice(keyOf('').length), toCkvError(thrown)),
      });
    } catch (error) {
      await release(); // or a later worker would load the graphs of this set, whose files may be gone by then
      throw error;
    } finally {
      dispatcher.dispatch(); // background runs have waited for the load
    }
    return createGraphSet({
      graphs: names,
      run: (graph, feeds, limits, keepFeeds) => dispatcher.run({ graph: keyOf(graph), feeds, keepFeeds }, limits),
      idleWorkerCount: pool.idleCount,
      release,
    });
  }

  return {
    get queuedCount() {
      return dispatcher.queuedCount;
    },
    get hungry() {
      return dispatcher.hungry;
    },

    load(graphs, loadOptions = {}) {
      const loading = latestLoad.then(() => load(graphs, loadOptions));
      latestLoad = loading.catch(() => undefined);
      return loading;
    },

    async close() {
      dispatcher.rejectAll();
      await pool.close();
    },
  };
}
