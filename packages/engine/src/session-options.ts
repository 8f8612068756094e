import type { InferenceSession } from 'onnxruntime-node';
import type { WorkerSettings } from './protocol.js';

/** Returns the onnxruntime options of every session. */
export function sessionOptions({ provider, threadsPerWorker }: WorkerSettings): InferenceSession.SessionOptions {
  return {
    executionProviders: provider === 'cpu' ? ['cpu'] : [provider, 'cpu'],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threadsPerWorker,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Shapes differ from request to request, so a memory pattern of one run does not fit the next.
    enableMemPattern: false,
    extra: {
      // Idle threads that spin would take cores from the other services of the machine.
      session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } },
      // onnxruntime 1.30 divides by zero in a fused transpose over no positions. That ends the process.
      optimization: { disable_specified_optimizers: 'MatmulTransposeFusion' },
    },
  };
}
