import { CkvError } from '@collectivekv/domain';
import { listSupportedBackends } from 'onnxruntime-node';
import type { Provider } from './protocol.js';

const REMEDY: Record<Provider, string> = {
  cpu: 'reinstall onnxruntime-node',
  cuda: 'install CUDA 12 with cuDNN 9 and an onnxruntime-node whose CUDA libraries are present (npm rebuild onnxruntime-node with ONNXRUNTIME_NODE_INSTALL=cuda12), or set CKV_PROVIDER=cpu',
  webgpu: 'install a GPU driver with Vulkan (libvulkan1), or set CKV_PROVIDER=cpu',
};

/**
 * Checks that the installed onnxruntime lists a provider. A listed provider may still fail to load its first graph.
 * @throws provider_missing with what to install
 */
export function requireProvider(provider: Provider): void {
  if (listSupportedBackends().some(({ name }) => name === provider)) return;
  const installed = listSupportedBackends().map(({ name }) => name);
  const has = installed.join(', ');
  throw new CkvError(
    'provider_missing',
    `provider ${provider} is not in this onnxruntime, which has ${has}; ${REMEDY[provider]}`,
  );
}

/** Returns the error to report for a graph that did not load. Errors other than `bug` stay as they are. */
export function loadError(provider: Provider, graph: string, error: CkvError): CkvError {
  if (error.reason !== 'bug') return error;
  if (provider === 'cpu') return new CkvError('bundle_invalid', `graph ${graph} does not load: ${error.message}`);
  const text = `provider ${provider} does not start: ${error.message}; ${REMEDY[provider]}`;
  return new CkvError('provider_missing', text);
}
