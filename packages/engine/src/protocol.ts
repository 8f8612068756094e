import type { Tensors } from '@collectivekv/domain';

/** Execution providers that a configuration may name. */
export type Provider = 'cpu' | 'cuda' | 'webgpu';

/** Precisions of matrix products that a configuration may name. */
export type Precision =
  /** 24 bits of significand. */
  | 'float32'
  /** Factors are rounded to 11 bits, sums have 24. Only on NVIDIA's GPUs. */
  | 'tf32';

/** Settings of a worker. */
export interface WorkerSettings {
  readonly provider: Provider;
  /** Index of the GPU, from 0. */
  readonly deviceIndex: number;
  readonly threadsPerWorker: number;
}

/**
 * A message to the worker. `graph` is the graph's key, unique over all loads. `id` returns with the answer. A probe opens
 * a session of a graph that the worker has, and frees it.
 */
export type ToWorker =
  | { readonly kind: 'probe'; readonly id: number; readonly graph: string }
  | { readonly kind: 'load'; readonly id: number; readonly graph: string; readonly path: string }
  | { readonly kind: 'run'; readonly id: number; readonly graph: string; readonly feeds: Tensors }
  | { readonly kind: 'release'; readonly id: number; readonly graph: string };

/** A worker's answer. `outputs` is empty unless the message was a run, and `seconds` is the time that it took. */
export type FromWorker =
  | { readonly id: number; readonly ok: true; readonly outputs: Tensors; readonly seconds: number }
  | { readonly id: number; readonly ok: false; readonly message: string };
