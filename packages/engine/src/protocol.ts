import type { Tensors } from '@collectivekv/domain';

/** Execution providers that a configuration may name. */
export type Provider = 'cpu' | 'cuda' | 'webgpu';

/** Settings of a worker. */
export interface WorkerSettings {
  readonly provider: Provider;
  readonly threadsPerWorker: number;
}

/** A message to the worker. `graph` is the graph's key, unique over all loads. `id` returns with the answer. */
export type ToWorker =
  | { readonly kind: 'load'; readonly id: number; readonly graph: string; readonly path: string }
  | { readonly kind: 'run'; readonly id: number; readonly graph: string; readonly feeds: Tensors }
  | { readonly kind: 'release'; readonly id: number; readonly graph: string };

/** A worker's answer. `outputs` is empty unless the message was a run. */
export type FromWorker =
  | { readonly id: number; readonly ok: true; readonly outputs: Tensors }
  | { readonly id: number; readonly ok: false; readonly message: string };
