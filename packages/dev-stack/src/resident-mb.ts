import type { ServiceProcess } from './service-process.js';
import type { Stack } from './stack.js';

/** Returns the resident memory of each service in MB (10^6 bytes), by name. Of several replicas, the largest counts. */
export async function residentMb(stack: Stack): Promise<Record<string, number>> {
  const entries = Object.entries(stack.services).map(async ([name, replicas]) => {
    const bytes = await Promise.all(replicas.map(residentBytesOf));
    return [name, Math.round(Math.max(...bytes) / 1e6)] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function residentBytesOf({ metricsAddress }: ServiceProcess): Promise<number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  return Number(/^process_resident_memory_bytes\S* (\S+)/m.exec(text)?.[1] ?? 0);
}
