import { createDeviceEngine } from './device-engine.js';
import type { Engine, EngineOptions } from './engine-options.js';
import { probeDevice, requireProvider, setPrecision } from './provider.js';
import { createWorkerEngine } from './worker-engine.js';

/**
 * Creates an engine. On a device it first runs a session of its own, so that a missing library or device is refused.
 * @throws provider_missing with what to install; invalid_request for options that the provider does not take
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  requireProvider(options);
  if (options.provider === 'cpu') return createWorkerEngine(options);
  setPrecision(options);
  await probeDevice(options);
  return createDeviceEngine(options);
}
