import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { CkvError, invalidRequest, toCkvError } from '@collectivekv/domain';
import { listSupportedBackends } from 'onnxruntime-node';
import type { EngineOptions } from './engine-options.js';
import type { Provider } from './protocol.js';
import { runtimeVersion } from './runtime-version.js';
import { startWorkerThread } from './worker-thread.js';

/** The parts of the CUDA provider that the npm package lacks. */
const CUDA_FILES = ['libonnxruntime_providers_cuda.so', 'libonnxruntime_providers_shared.so'];

/** Returns the folder of onnxruntime's libraries. */
function libraryDir(): string {
  const packageFile = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  return join(dirname(packageFile), 'bin', 'napi-v6', process.platform, process.arch);
}

function remedyOf(provider: Provider): string {
  switch (provider) {
    case 'cpu':
      return 'reinstall onnxruntime-node';
    case 'cuda':
      return `copy ${CUDA_FILES.join(' and ')} of the PyPI wheel onnxruntime-gpu ${runtimeVersion()} into ${libraryDir()}, put cuBLAS, cuRAND and cudart of CUDA 13 on LD_LIBRARY_PATH, and check the driver and CKV_DEVICE_INDEX with nvidia-smi (docs/gpu.md), or set CKV_PROVIDER=cpu`;
    case 'webgpu':
      return 'install libvulkan1 and a GPU driver with Vulkan, whose file VK_DRIVER_FILES may have to name (docs/gpu.md), or set CKV_PROVIDER=cpu';
  }
}

/** Returns the name of a device: `cpu`, `webgpu`, or `cuda:` with the index of the GPU. */
export function deviceName({ provider, deviceIndex = 0 }: Pick<EngineOptions, 'provider' | 'deviceIndex'>): string {
  return provider === 'cuda' ? `cuda:${deviceIndex}` : provider;
}

/**
 * Checks the options, and that the parts of the provider are installed. Its libraries and device are not tried.
 * @param dir folder of onnxruntime's libraries
 * @throws provider_missing with what to install; invalid_request for options that the provider does not take
 */
export function requireProvider(options: EngineOptions, dir = libraryDir()): void {
  const { provider, deviceIndex = 0, precision = 'float32', workerCount } = options;
  if (provider !== 'cuda' && deviceIndex !== 0) {
    const problem = `is ${deviceIndex}, but provider ${provider} takes no index`;
    throw invalidRequest('CKV_DEVICE_INDEX', problem, 'leave it unset, or set CKV_PROVIDER=cuda');
  }
  if (provider !== 'cuda' && precision !== 'float32') {
    const problem = `is ${precision}, but provider ${provider} has float32 only`;
    throw invalidRequest('CKV_PRECISION', problem, 'leave it unset, or set CKV_PROVIDER=cuda');
  }
  if (provider !== 'cpu' && workerCount !== 1) {
    const problem = `is ${workerCount}, but a device has one worker for each bundle`;
    throw invalidRequest('CKV_WORKERS', problem, 'leave it unset, or set CKV_PROVIDER=cpu');
  }
  const installed = listSupportedBackends().map(({ name }) => name);
  if (!installed.includes(provider)) {
    throw missing(provider, `is not in this onnxruntime, which has ${installed.join(', ')}`);
  }
  if (provider !== 'cuda' || process.platform !== 'linux') return;
  const absent = CUDA_FILES.filter((file) => !existsSync(join(dir, file)));
  if (absent.length > 0) throw missing(provider, `lacks ${absent.join(' and ')} in ${dir}`);
}

/**
 * Lets NVIDIA's libraries round matrix products to TF32, or forbids it. onnxruntime-node has no option for it. The
 * libraries read the variable when they are loaded, so the first engine of a process decides.
 */
export function setPrecision({ precision = 'float32' }: Pick<EngineOptions, 'precision'>): void {
  if (precision === 'float32') process.env.NVIDIA_TF32_OVERRIDE = '0';
  else delete process.env.NVIDIA_TF32_OVERRIDE;
}

/**
 * Opens a small session on a device and frees it.
 * @throws provider_missing with onnxruntime's reason and what to install
 */
export async function probeDevice({ provider, deviceIndex = 0 }: EngineOptions): Promise<void> {
  const thread = startWorkerThread({ provider, deviceIndex, threadsPerWorker: 1 });
  try {
    await thread.perform({ kind: 'probe', graph: 'probe' });
  } catch (thrown) {
    throw notStarting(provider, toCkvError(thrown));
  } finally {
    await thread.terminate();
  }
}

/** Returns the error to report for a graph that did not load. Errors other than `bug` stay as they are. */
export function loadError(provider: Provider, graph: string, error: CkvError): CkvError {
  if (error.reason !== 'bug') return error;
  if (provider !== 'cpu') return notStarting(provider, error);
  return new CkvError('bundle_invalid', `graph ${graph} does not load: ${error.message}`);
}

function notStarting(provider: Provider, error: CkvError): CkvError {
  return missing(provider, `does not start: ${error.message}`);
}

function missing(provider: Provider, problem: string): CkvError {
  return new CkvError('provider_missing', `provider ${provider} ${problem}; ${remedyOf(provider)}`);
}
