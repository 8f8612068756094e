import { z } from 'zod';

/** Returns the schema of the variables of a service that runs graphs: the provider, its device and the precision. */
export function deviceConfig() {
  return {
    CKV_PROVIDER: z
      .enum(['cpu', 'cuda', 'webgpu'])
      .default('cpu')
      .describe('execution provider of the graphs; cuda and webgpu need libraries, see gpu.md'),
    CKV_DEVICE_INDEX: z.coerce
      .number()
      .int()
      .min(0)
      .max(63)
      .default(0)
      .describe('index of the GPU that graphs run on, as nvidia-smi counts; cuda only'),
    CKV_PRECISION: z
      .enum(['float32', 'tf32'])
      .default('float32')
      .describe(
        'precision of matrix products; tf32, for cuda only, is faster, and bundles load only if their golden tolerance allows it',
      ),
  };
}
