import type { Params, Row } from '../results.js';
import type { BatchShape } from './batch.js';
import type { Device } from './device.js';
import type { GpuModel } from './gpu-model.js';
import type { GpuOptions } from './gpu-options.js';
import type { TimedRuns } from './time-runs.js';

/** Who computed: the engine of the services, PyTorch, or whole services. */
export type ComputePath = 'onnxruntime-node' | 'PyTorch' | 'gRPC';

/** The shared state of a run's parts. */
export interface GpuBench {
  readonly options: GpuOptions;
  readonly model: GpuModel;
  readonly device: Device;
  /** Folder of all files of the run. */
  readonly dir: string;
  readonly rows: readonly Row[];
  /** What was not measured, and why. */
  readonly notes: readonly string[];
  add(name: string, params: Params, value: number, unit?: string): void;
  note(text: string): void;
  progress(text: string): void;
  /** Writes the figures so far, in case that the run is ended. */
  save(): void;
}

/** Returns the parameters of a batch, as the tables print them. */
export function batchParams(path: ComputePath, arm: string, { users, positions, candidates }: BatchShape): Params {
  return { path, arm, users, positions, candidates };
}

/** Adds the times of a batch. */
export function addTimes(bench: GpuBench, params: Params, { p50, longestMs }: TimedRuns<unknown>): void {
  bench.add('batch_p50', params, p50.whole, 'ms');
  bench.add('batch_longest', params, longestMs, 'ms');
  if (p50.graph > 0) bench.add('batch_graph_p50', params, p50.graph, 'ms'); // 0: the graphs ran in another process
}
