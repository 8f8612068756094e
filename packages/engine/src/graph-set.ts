import { CkvError, type Tensors, toCkvError } from '@collectivekv/domain';
import type { Batching, GraphRun, RunLimits, TimedBatching } from './run-queue.js';
import { createRunTimes } from './run-times.js';

/** Graphs that were loaded together. */
export interface GraphSet {
  /**
   * Runs a graph. The feeds must not be used afterwards: a large buffer that one tensor fills is transferred to the
   * worker, not copied.
   * @throws overloaded, deadline or `limits.ended` if the run did not start
   * @throws draining after the set or the engine was closed
   * @throws dependency_unavailable if the worker died
   * @throws bug if onnxruntime refuses the feeds
   */
  run(graph: string, feeds: Tensors, limits?: RunLimits): Promise<Tensors>;
  /**
   * Runs a graph over several feeds at once, which may share tensors. Several are not joined with other runs, and one is
   * not if `alone` is true. Throws as `run` does.
   */
  runEach(graph: string, parts: readonly Tensors[], limits?: RunLimits, alone?: boolean): Promise<Tensors[]>;
  /** From now on, joins runs of a graph that wait for a worker. Those of the spare worker are not joined. */
  joinRuns(graph: string, batching: Batching): void;
  /** Most users of a run. It is 1 unless runs are joined. */
  readonly mostUsers: number;
  /** Workers that would start a run at once. */
  readonly idleWorkerCount: number;
  /** Frees the sessions of a graph that has no run. */
  drop(graph: string): Promise<void>;
  /** Waits for the runs in flight, then frees the sessions. */
  close(): Promise<void>;
}

/** The states of a graph set. Every set passes through them in this order. */
type GraphSetState =
  /** The set takes runs. */
  | 'open'
  /** The set takes no more runs, and waits for those in flight. */
  | 'closing'
  /** The sessions are freed. */
  | 'closed';

/** Options of {@link createGraphSet}. */
export interface GraphSetOptions {
  readonly graphs: readonly string[];
  /** Returns the key of a graph of the set. */
  keyOf(graph: string): string;
  run(run: GraphRun, limits: RunLimits): Promise<Tensors>;
  idleWorkerCount(): number;
  /** Frees the sessions of a graph. */
  release(key: string): Promise<void>;
  /** Called when the set is closed. */
  onClosed(): void;
}

/** Creates the set of graphs that the workers have loaded. */
export function createGraphSet(options: GraphSetOptions): GraphSet {
  const graphs = new Set(options.graphs);
  const batchings = new Map<string, TimedBatching>();
  const inFlight = new Set<Promise<unknown>>();
  let state: GraphSetState = 'open';

  async function run(graph: string, run: Omit<GraphRun, 'graph'>, limits: RunLimits): Promise<Tensors> {
    if (state !== 'open') throw new CkvError('draining', 'the graphs are closed');
    if (!graphs.has(graph)) throw new CkvError('bug', `graph ${graph} was not loaded`);
    const answer = options.run({ ...run, graph: options.keyOf(graph) }, limits);
    inFlight.add(answer);
    try {
      return await answer;
    } catch (thrown) {
      throw named(graph, toCkvError(thrown));
    } finally {
      inFlight.delete(answer);
    }
  }

  return {
    run: (graph, feeds, limits = {}) => run(graph, { feeds, keepFeeds: false, batching: batchings.get(graph) }, limits),
    // Runs start in order. The last part may transfer its tensors, because the other parts have copied theirs by then.
    // In batches they would start in any order.
    runEach(graph, parts, limits = {}, alone = false) {
      const batching = alone || parts.length > 1 ? undefined : batchings.get(graph);
      const runs = parts.map((feeds, i) => run(graph, { feeds, keepFeeds: i < parts.length - 1, batching }, limits));
      return Promise.all(runs);
    },
    joinRuns(graph, batching) {
      batchings.set(graph, { ...batching, graph: options.keyOf(batching.graph), times: createRunTimes() });
    },
    get mostUsers() {
      return greatestOf(batchings.values());
    },
    get idleWorkerCount() {
      return options.idleWorkerCount();
    },
    async drop(graph) {
      if (graphs.delete(graph)) await options.release(options.keyOf(graph));
    },
    async close() {
      if (state !== 'open') return;
      state = 'closing';
      await Promise.allSettled(inFlight);
      for (const graph of graphs) await options.release(options.keyOf(graph));
      state = 'closed';
      options.onClosed();
    },
  };
}

/** Returns the most users of a run of one of these; 1 if there are none. */
export function greatestOf(all: Iterable<{ readonly mostUsers: number }>): number {
  let greatest = 1;
  for (const { mostUsers } of all) greatest = Math.max(greatest, mostUsers);
  return greatest;
}

/** Returns the error, with the graph's name if onnxruntime gave the error. */
function named(graph: string, error: CkvError): CkvError {
  return error.reason === 'bug' ? new CkvError('bug', `graph ${graph}: ${error.message}`, { cause: error }) : error;
}
