import type { ServiceProcess } from '@collectivekv/dev-stack';

/** A service's own metrics by name; of several with one name the first. */
export async function readMetrics({ metricsAddress }: ServiceProcess): Promise<(name: string) => number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  return (name) => Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)`, 'm').exec(text)?.[1]);
}

/** Processor seconds that each service has taken, by its name. */
export async function cpuSeconds(services: readonly ServiceProcess[]): Promise<Map<string, number>> {
  const entries = services.map(async (service) => {
    const metric = await readMetrics(service);
    return [service.name, metric('process_cpu_seconds_total')] as const;
  });
  return new Map(await Promise.all(entries));
}
