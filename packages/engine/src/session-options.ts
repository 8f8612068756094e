import type { InferenceSession } from 'onnxruntime-node';
import type { WorkerSettings } from './protocol.js';

/** How the engine has onnxruntime run every graph. */
export function sessionOptions({ provider, threadsPerWorker }: WorkerSettings): InferenceSession.SessionOptions {
  return {
    executionProviders: provider === 'cpu' ? ['cpu'] : [provider, 'cpu'],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threadsPerWorker,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Shapes differ from request to request, so a pattern planned for one does not fit the next.
    enableMemPattern: false,
    extra: {
      // Idle threads that spin would take the cores from the other services of the machine.
      session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } },
      // onnxruntime 1.30 divides by zero, which ends the process, where a fused transpose meets no positions.
      optimization: { disable_specified_optimizers: 'MatmulTransposeFusion' },
    },
  };
}
