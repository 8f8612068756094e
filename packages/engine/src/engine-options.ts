import type { Tensors } from '@collectivekv/domain';
import type { GraphSet } from './graph-set.js';
import type { Precision, Provider } from './protocol.js';
import type { OnBatch } from './run-dispatcher.js';
import type { GraphFile } from './worker-pool.js';

/** Options of an engine. */
export interface EngineOptions {
  readonly provider: Provider;
  /** Index of the GPU, from 0. Default: 0. Only `cuda` takes another. */
  readonly deviceIndex?: number;
  /** Precision of matrix products. Default: float32. */
  readonly precision?: Precision;
  /**
   * Worker threads. Each holds every loaded graph and runs one graph at a time. On a device it must be 1: there each
   * load has a thread of its own, which alone holds the graphs.
   */
  readonly workerCount: number;
  /** Threads that one run may use. */
  readonly threadsPerWorker: number;
  /**
   * True adds a worker thread that does not serve: it loads graphs and takes background runs, and changes places with
   * the others so that none loads while it serves. Default: false, and loading a graph stops every worker. On a device
   * nothing loads while it serves anyway.
   */
  readonly spare?: boolean;
  /** Runs that may wait, besides the two that each worker is given. Runs of a batch that failed may be more. */
  readonly queueLimit: number;
  /** Called when a worker died and is to be replaced, with the error that ended it. */
  readonly onWorkerDeath?: (error: unknown) => void;
  /** Called after each run, with the graph's name and the time that the run took in its worker, seconds. */
  readonly onRun?: (graph: string, seconds: number) => void;
  readonly onBatch?: OnBatch;
}

/** Options of {@link Engine.load}. */
export interface LoadGraphsOptions {
  /** Runs that each worker makes before it serves with these graphs: the first run of a graph is slow. */
  readonly warmUps?: readonly { readonly graph: string; readonly feeds: Tensors }[];
}

/** onnxruntime sessions in worker threads. */
export interface Engine {
  /** Where graphs run: `cpu`, `webgpu`, or `cuda:` with the index of the GPU. */
  readonly device: string;
  readonly precision: Precision;
  /** Runs that wait for a worker. */
  readonly queuedCount: number;
  /** True if a worker could take another run now. */
  readonly hungry: boolean;
  /** Most users of a run of the loaded graphs. It is 1 unless runs are joined. */
  readonly mostUsers: number;
  /**
   * Loads graphs, after the loads that were begun before.
   * @throws bundle_invalid, provider_missing; dependency_unavailable if a worker died
   */
  load(graphs: Readonly<Record<string, GraphFile>>, options?: LoadGraphsOptions): Promise<GraphSet>;
  /** Rejects the waiting runs and ends the threads. */
  close(): Promise<void>;
}
