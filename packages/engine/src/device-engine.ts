import { CkvError } from '@collectivekv/domain';
import type { Engine, EngineOptions, LoadGraphsOptions } from './engine-options.js';
import { type GraphSet, greatestOf } from './graph-set.js';
import { deviceName } from './provider.js';
import { createWorkerEngine } from './worker-engine.js';
import type { GraphFile } from './worker-pool.js';

/**
 * Creates an engine that gives each load a thread of its own. So the weights of a graph are on the device once, and a
 * load or a golden check does not stop the graphs that serve. The thread ends when its graphs are closed.
 */
export function createDeviceEngine(options: EngineOptions): Engine {
  const { provider, deviceIndex = 0, precision = 'float32' } = options;
  const holders = new Set<Engine>();
  let closed = false;
  let latestLoad: Promise<unknown> = Promise.resolve();

  async function load(graphs: Readonly<Record<string, GraphFile>>, loadOptions: LoadGraphsOptions): Promise<GraphSet> {
    if (closed) throw new CkvError('draining', 'the engine is closed');
    const holder = createWorkerEngine({ ...options, workerCount: 1, spare: false });
    holders.add(holder);
    const end = async () => {
      holders.delete(holder);
      await holder.close();
    };
    try {
      return endingWith(await holder.load(graphs, loadOptions), end);
    } catch (error) {
      await end();
      throw error;
    }
  }

  const queuedCount = () => [...holders].reduce((count, holder) => count + holder.queuedCount, 0);
  return {
    device: deviceName({ provider, deviceIndex }),
    precision,
    get queuedCount() {
      return queuedCount();
    },
    // A thread that is being replaced takes no run. It must not keep requests from the other graphs.
    get hungry() {
      return queuedCount() === 0 && [...holders].some(({ hungry }) => hungry);
    },
    get mostUsers() {
      return greatestOf(holders);
    },
    load(graphs, loadOptions = {}) {
      const loading = latestLoad.then(() => load(graphs, loadOptions));
      latestLoad = loading.catch(() => undefined);
      return loading;
    },
    async close() {
      closed = true;
      await Promise.all([...holders].map((holder) => holder.close()));
    },
  };
}

/** Returns a set of graphs that calls `end` when it is closed. */
function endingWith(set: GraphSet, end: () => Promise<void>): GraphSet {
  return {
    run: set.run,
    runEach: set.runEach,
    joinRuns: set.joinRuns,
    drop: set.drop,
    get mostUsers() {
      return set.mostUsers;
    },
    get idleWorkerCount() {
      return set.idleWorkerCount;
    },
    async close() {
      await set.close();
      await end();
    },
  };
}
