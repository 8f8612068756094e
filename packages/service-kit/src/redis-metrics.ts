import { Histogram } from 'prom-client';
import { LATENCY_BUCKETS, type Metrics } from './metrics.js';

/**
 * Registers a histogram of the time that a service waits for Redis.
 * @param observeRedis passes on the times, such as `observeRedis` of packages/redis-connection
 */
export function watchRedisTimes(
  { registry }: Metrics,
  observeRedis: (observe: (seconds: number) => void) => void,
): void {
  const seconds = new Histogram({
    name: 'ckv_redis_seconds',
    help: 'Time of one step in Redis, one command or several together, failures included',
    buckets: LATENCY_BUCKETS,
    registers: [registry],
  });
  observeRedis((time) => seconds.observe(time));
}
