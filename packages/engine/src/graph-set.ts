import { CkvError, type Tensors, toCkvError } from '@collectivekv/domain';
import type { RunLimits } from './run-queue.js';

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
  /** Runs a graph over several feeds at once. The feeds may share tensors. Throws as `run` does. */
  runEach(graph: string, parts: readonly Tensors[], limits?: RunLimits): Promise<Tensors[]>;
  /** Workers that would start a run at once. */
  readonly idleWorkerCount: number;
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
  /** Runs a graph of the set; `keepFeeds` copies the feeds instead of transferring large ones. */
  run(graph: string, feeds: Tensors, limits: RunLimits, keepFeeds: boolean): Promise<Tensors>;
  idleWorkerCount(): number;
  /** Frees the sessions. */
  release(): Promise<void>;
}

/** Creates the set of graphs that the workers have loaded. */
export function createGraphSet(options: GraphSetOptions): GraphSet {
  const graphs = new Set(options.graphs);
  const inFlight = new Set<Promise<unknown>>();
  let state: GraphSetState = 'open';

  async function run(graph: string, feeds: Tensors, limits: RunLimits, keepFeeds: boolean): Promise<Tensors> {
    if (state !== 'open') throw new CkvError('draining', 'the graphs are closed');
    if (!graphs.has(graph)) throw new CkvError('bug', `graph ${graph} was not loaded`);
    const answer = options.run(graph, feeds, limits, keepFeeds);
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
    run: (graph, feeds, limits = {}) => run(graph, feeds, limits, false),
    // Runs start in order. The last part may transfer its tensors, because the other parts have copied theirs by then.
    runEach: (graph, parts, limits = {}) =>
      Promise.all(parts.map((feeds, i) => run(graph, feeds, limits, i < parts.length - 1))),
    get idleWorkerCount() {
      return options.idleWorkerCount();
    },
    async close() {
      if (state !== 'open') return;
      state = 'closing';
      await Promise.allSettled(inFlight);
      await options.release();
      state = 'closed';
    },
  };
}

/** Returns the error, with the graph's name if onnxruntime gave the error. */
function named(graph: string, error: CkvError): CkvError {
  return error.reason === 'bug' ? new CkvError('bug', `graph ${graph}: ${error.message}`, { cause: error }) : error;
}
