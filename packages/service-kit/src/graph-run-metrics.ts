import { Histogram } from 'prom-client';
import { LATENCY_BUCKETS, type Metrics } from './metrics.js';

/**
 * Registers a histogram of the time that graph runs take.
 * @returns the function to call after each run, with the graph's name and seconds
 */
export function watchGraphRuns({ registry }: Metrics): (graph: string, seconds: number) => void {
  const histogram = new Histogram({
    name: 'ckv_graph_run_seconds',
    help: 'Time of one graph run in its worker, copies to and from a device included, waiting for the worker not',
    labelNames: ['graph'] as const,
    buckets: LATENCY_BUCKETS,
    registers: [registry],
  });
  return (graph, seconds) => histogram.observe({ graph }, seconds);
}
