import type { ServiceProcess } from '@collectivekv/dev-stack';

/** Reads a service's metrics. Returns a function from a name to the value; of several values, the first. */
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
