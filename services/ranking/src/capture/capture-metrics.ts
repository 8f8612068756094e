import { type Metrics, watchGauge } from '@collectivekv/service-kit';
import { Counter } from 'prom-client';
import type { CaptureFolder } from './capture-folder.js';
import type { CaptureOutcome } from './capture-outcome.js';

/** What became of captures: an outcome of the answer, or of the file after it. */
export type CaptureCount = Exclude<CaptureOutcome, 'none' | 'taken'> | 'written' | 'failed';

/** Metrics of captures. */
export interface CaptureMetrics {
  count(outcome: CaptureCount): void;
}

/** Registers the metrics of captures. */
export function createCaptureMetrics(metrics: Metrics, folder: Pick<CaptureFolder, 'count' | 'bytes'>): CaptureMetrics {
  watchGauge(metrics, { name: 'ckv_captures', help: 'Captures in the folder' }, () => folder.count);
  watchGauge(metrics, { name: 'ckv_capture_bytes', help: 'Bytes of the captures in the folder' }, () => folder.bytes);
  const captures = new Counter({
    name: 'ckv_captures_total',
    help: 'Requests with a capture id, by what became of the capture',
    labelNames: ['outcome'] as const,
    registers: [metrics.registry],
  });
  return { count: (outcome) => captures.inc({ outcome }) };
}
