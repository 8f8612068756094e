import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import type { FileOutcome } from '@collectivekv/credentials';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import { runtimeVersion } from '@collectivekv/engine';
import type { Logger, Metrics } from '@collectivekv/service-kit';
import type { RankingConfig } from '../config.js';
import type { CaptureEnvironment } from './capture.js';
import { openCaptureFolder } from './capture-folder.js';
import { followCaptureKeys } from './capture-keys.js';
import { createCaptureMetrics } from './capture-metrics.js';
import { type Captures, createCaptures } from './captures.js';

/** Longest time between two looks for captures that are too old, ms. */
const SWEEP_EVERY_MS = 60_000;

/** Parts of {@link openCaptures}. */
export interface CaptureParts {
  readonly log: Pick<Logger, 'warn'>;
  readonly metrics: Metrics;
  readonly onFileOutcome: (outcome: FileOutcome) => void;
}

/**
 * Opens the folder of captures that the configuration names.
 * @returns undefined if it names none: no request is captured
 * @throws invalid_request if captures would be plain and nothing allows it, or the key file is wrong;
 * dependency_unavailable if the folder cannot be used
 */
export async function openCaptures(
  config: RankingConfig,
  { log, metrics, onFileOutcome }: CaptureParts,
): Promise<Captures | undefined> {
  const { CKV_CAPTURE_DIR: dir, CKV_CAPTURE_KEY_FILE: keyFile, CKV_CAPTURE_TTL_S: ttlS } = config;
  if (dir === '') return undefined;
  if (keyFile === '' && !config.CKV_CAPTURE_ALLOW_PLAIN) {
    throw invalidRequest(
      'CKV_CAPTURE_DIR',
      'is set, but captures hold user data and there is no key for them',
      'set CKV_CAPTURE_KEY_FILE, or CKV_CAPTURE_ALLOW_PLAIN=true for files that are not encrypted',
    );
  }
  const field = 'CKV_CAPTURE_KEY_FILE';
  const keys = keyFile === '' ? undefined : followCaptureKeys({ field, path: keyFile }, onFileOutcome);
  const folder = await openCaptureFolder({ dir, ttlMs: ttlS * 1_000 }).catch((cause: NodeJS.ErrnoException) => {
    const problem = `CKV_CAPTURE_DIR: ${dir} cannot be used (${cause.code}); name a folder that ranking may write`;
    throw new CkvError('dependency_unavailable', problem, { cause });
  });
  const captures = createCaptures({
    folder,
    keys: () => keys?.current ?? [],
    maxCount: config.CKV_CAPTURE_MAX_COUNT,
    maxBytes: config.CKV_CAPTURE_MAX_BYTES,
    environment: environmentOf(config),
    metrics: createCaptureMetrics(metrics, folder),
    log,
    sweepEveryMs: Math.min(SWEEP_EVERY_MS, ttlS * 250),
  });
  return {
    ...captures,
    async close() {
      keys?.close();
      await captures.close();
    },
  };
}

/** Returns the software and hardware of this process, as far as scores may depend on them. */
export function environmentOf(
  config: Pick<RankingConfig, 'CKV_PROVIDER' | 'CKV_PRECISION' | 'CKV_THREADS_PER_WORKER' | 'CKV_POOL_MODE'>,
): CaptureEnvironment {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  return {
    service: version,
    onnxruntime: runtimeVersion(),
    processor: `${process.arch} ${cpus()[0]?.model ?? 'unknown'}`,
    provider: config.CKV_PROVIDER,
    precision: config.CKV_PRECISION,
    threadsPerWorker: config.CKV_THREADS_PER_WORKER,
    poolMode: config.CKV_POOL_MODE,
  };
}
