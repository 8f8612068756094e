import type { InferenceSession } from 'onnxruntime-node';
import type { WorkerSettings } from './protocol.js';

/** Returns the onnxruntime options of every session. */
export function sessionOptions(settings: WorkerSettings): InferenceSession.SessionOptions {
  return {
    executionProviders: executionProviders(settings),
    graphOptimizationLevel: 'all',
    intraOpNumThreads: settings.threadsPerWorker,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Shapes differ from request to request, so a memory pattern of one run does not fit the next.
    enableMemPattern: false,
    extra: {
      // Idle threads that spin would take cores from the other services of the machine.
      session: {
        intra_op: { allow_spinning: '0' },
        inter_op: { allow_spinning: '0' },
        // Weights take their own size on a device. Otherwise they take blocks of the arena, which doubles its blocks.
        ...(settings.provider === 'cuda' ? { use_device_allocator_for_initializers: '1' } : {}),
      },
      // onnxruntime 1.30 divides by zero in a fused transpose over no positions. That ends the process.
      optimization: { disable_specified_optimizers: 'MatmulTransposeFusion' },
    },
  };
}

/**
 * Returns the providers in order of preference. onnxruntime-node 1.30 reads `deviceId` for cuda and silently ignores
 * every other option, `use_tf32` and `gpu_mem_limit` among them. For webgpu it refuses unknown options.
 */
function executionProviders({ provider, deviceIndex }: WorkerSettings): InferenceSession.ExecutionProviderConfig[] {
  if (provider === 'cpu') return ['cpu'];
  return [provider === 'cuda' ? { name: 'cuda', deviceId: deviceIndex } : 'webgpu', 'cpu'];
}
