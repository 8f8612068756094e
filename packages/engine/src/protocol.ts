import type { Tensors } from '@collectivekv/domain';

/** Execution providers that a configuration may name. */
export type Provider = 'cpu' | 'cuda' | 'webgpu';

/** What a worker is started with. */
export interface WorkerSettings {
  readonly provider: Provider;
  readonly threadsPerWorker: number;
}

/** Main thread to worker. `graph` is a key made unique over all loads. */
export type ToWorker =
  | { readonly kind: 'load'; readonly id: number; readonly graph: string; readonly path: string }
  | { readonly kind: 'run'; readonly id: number; readonly graph: string; readonly feeds: Tensors }
  | { readonly kind: 'release'; readonly id: number; readonly graph: string };

/** Worker to main thread. */
export type FromWorker =
  | { readonly id: number; readonly ok: true; readonly outputs: Tensors }
  | { readonly id: number; readonly ok: false; readonly message: string };
