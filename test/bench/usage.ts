import type { ServiceProcess } from '@collectivekv/dev-stack';
import type { RedisClient } from '@collectivekv/redis-connection';

/** A load average per core above this is told. */
const BUSY_LOAD = 0.25;

/** Returns the sentence for a machine that other programs used, by its load average; empty for an idle one. */
export function busyText(loadAverage: number, cores: number): string {
  if (loadAverage <= cores * BUSY_LOAD) return '';
  return `Other programs used the machine, too: the load average of the five minutes before was ${loadAverage.toFixed(1)}`;
}

/**
 * Reads a service's metrics. Returns a function from a name to the value; of several values, the first. Every reading
 * begins the figures of the event loop's delay anew.
 */
export async function readMetrics({ metricsAddress }: ServiceProcess): Promise<(name: string) => number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  return (name) => Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)`, 'm').exec(text)?.[1]);
}

/** Returns the processor seconds used by each service so far, by service name. */
export async function cpuSeconds(services: readonly ServiceProcess[]): Promise<Map<string, number>> {
  const entries = services.map(async (service) => {
    const metric = await readMetrics(service);
    return [service.name, metric('process_cpu_seconds_total')] as const;
  });
  return new Map(await Promise.all(entries));
}

/** Returns the processor seconds used so far by each process that a rank request keeps busy. */
export async function rankProcessorSeconds(
  services: readonly ServiceProcess[],
  redis: RedisClient,
): Promise<Map<string, number>> {
  const ofRedis = await redis.info('cpu');
  const redisSeconds = (kind: string) => Number(new RegExp(`^used_cpu_${kind}:(\\S+)`, 'm').exec(ofRedis)?.[1]);
  const { user, system } = process.cpuUsage();
  return new Map([
    ...(await cpuSeconds(services)),
    ['Redis', redisSeconds('user') + redisSeconds('sys')],
    ['load generator', (user + system) / 1e6],
  ]);
}
