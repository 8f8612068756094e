import { toCkvError } from '@collectivekv/domain';
import type { Engine, EngineOptions, LoadGraphsOptions } from './engine-options.js';
import { createGraphSet, type GraphSet, greatestOf } from './graph-set.js';
import { deviceName, loadError } from './provider.js';
import { createRunDispatcher } from './run-dispatcher.js';
import { createWorkerPool, type GraphFile } from './worker-pool.js';

/** Creates an engine whose workers hold every graph, and starts the workers. */
export function createWorkerEngine(options: EngineOptions): Engine {
  const { provider, deviceIndex = 0, precision = 'float32', threadsPerWorker, spare: hasSpare = false } = options;
  const pool = createWorkerPool({
    settings: { provider, deviceIndex, threadsPerWorker },
    hasSpare,
    onReady: () => dispatcher.dispatch(),
    onDeath: (error) => options.onWorkerDeath?.(error),
    onRun: (key, seconds) => options.onRun?.(nameOf(key), seconds),
  });
  const { queueLimit, onBatch } = options;
  const dispatcher = createRunDispatcher({ pool, queueLimit, hasSpare, onBatch });
  pool.start(options.workerCount);
  const sets = new Set<GraphSet>(); // those that are not closed
  let setCount = 0;
  let latestLoad: Promise<unknown> = Promise.resolve();

  async function load(
    graphs: Readonly<Record<string, GraphFile>>,
    { warmUps = [] }: LoadGraphsOptions,
  ): Promise<GraphSet> {
    const set = ++setCount;
    const names = Object.keys(graphs);
    const keyOf = (graph: string) => `${set}:${graph}`;
    try {
      await pool.load({
        files: new Map(Object.entries(graphs).map(([graph, file]) => [keyOf(graph), file])),
        warmUps: warmUps.map(({ graph, feeds }) => ({ graph: keyOf(graph), feeds, keepFeeds: true })),
        failed: (key, thrown) => loadError(provider, nameOf(key), toCkvError(thrown)),
      });
    } catch (error) {
      // Or a later worker would load the graphs of this set, whose files may be gone by then.
      for (const graph of names) await pool.release(keyOf(graph));
      throw error;
    } finally {
      dispatcher.dispatch(); // background runs have waited for the load
    }
    const loaded: GraphSet = createGraphSet({
      graphs: names,
      keyOf,
      run: dispatcher.run,
      idleWorkerCount: pool.idleCount,
      release: pool.release,
      onClosed: () => sets.delete(loaded),
    });
    sets.add(loaded);
    return loaded;
  }

  return {
    device: deviceName({ provider, deviceIndex }),
    precision,
    get queuedCount() {
      return dispatcher.queuedCount;
    },
    get hungry() {
      return dispatcher.hungry;
    },
    get mostUsers() {
      return greatestOf(sets);
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

/** Returns the name of a graph from its key, which has the number of its set before it. */
function nameOf(key: string): string {
  return key.slice(key.indexOf(':') + 1);
}
