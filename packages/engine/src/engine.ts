import { toCkvError } from '@collectivekv/domain';
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
  /** Runs that may wait, besides the two that each worker is given. */
  readonly queueLimit: number;
  /** Called when a worker died and is to be replaced, with the error that ended it. */
  readonly onWorkerDeath?: (error: unknown) => void;
}

/** onnxruntime sessions in worker threads. */
export interface Engine {
  /** Runs that wait for a worker. */
  readonly queuedCount: number;
  /** True if a worker could take another run now. */
  readonly hungry: boolean;
  /**
   * Loads graphs into every worker.
   * @throws bundle_invalid, provider_missing; dependency_unavailable if a worker died
   */
  load(graphs: Readonly<Record<string, GraphFile>>): Promise<GraphSet>;
  /** Rejects the waiting runs and ends the threads. */
  close(): Promise<void>;
}

/**
 * Creates an engine and starts its workers.
 * @throws provider_missing with what to install
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { provider, threadsPerWorker } = options;
  requireProvider(provider);
  const pool = createWorkerPool({
    settings: { provider, threadsPerWorker },
    onReady: () => dispatcher.dispatch(),
    onDeath: (error) => options.onWorkerDeath?.(error),
  });
  const dispatcher = createRunDispatcher(pool, options.queueLimit);
  pool.start(options.workerCount);
  let setCount = 0;

  return {
    get queuedCount() {
      return dispatcher.queuedCount;
    },
    get hungry() {
      return dispatcher.hungry;
    },

    async load(graphs) {
      const set = ++setCount;
      const names = Object.keys(graphs);
      const keyOf = (graph: string) => `${set}:${graph}`;
      const release = async () => {
        for (const graph of names) await pool.release(keyOf(graph));
      };
      for (const [graph, file] of Object.entries(graphs)) {
        try {
          await pool.load(keyOf(graph), file);
        } catch (thrown) {
          await release(); // or a later worker would load the graphs of this set, whose files may be gone by then
          throw loadError(provider, graph, toCkvError(thrown));
        }
      }
      return createGraphSet({
        graphs: names,
        run: (graph, feeds, limits, keepFeeds) => dispatcher.run({ graph: keyOf(graph), feeds, keepFeeds }, limits),
        idleWorkerCount: pool.idleCount,
        release,
      });
    },

    async close() {
      dispatcher.rejectAll();
      await pool.close();
    },
  };
}
