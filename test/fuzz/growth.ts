import type { ServiceProcess } from '@collectivekv/dev-stack';

/** What a process keeps. */
export interface Kept {
  readonly heapMb: number;
  readonly residentMb: number;
  /** Open files and sockets. */
  readonly openFiles: number;
  /** libuv handles: sockets, timers, servers. */
  readonly handles: number;
}

/** Most that a process may keep beyond what it kept after the warm-up. */
const MAX_GROWTH: Kept = { heapMb: 12, residentMb: 96, openFiles: 8, handles: 8 };
const MB = 1024 * 1024;
const READS = 8;

/** Collects the garbage of a service, and returns what it keeps: the least of several readings. */
export async function keptBy(service: ServiceProcess): Promise<Kept> {
  let least: Kept | undefined;
  for (let i = 0; i < READS; i++) {
    process.kill(service.pid, 'SIGUSR2');
    const text = await fetch(`http://${service.metricsAddress}/metrics`).then((response) => response.text());
    const value = (name: string) => {
      const found = new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'm').exec(text)?.[1];
      if (found === undefined) throw new Error(`/metrics of a service has no ${name}`);
      return Number(found);
    };
    const read: Kept = {
      heapMb: (value('nodejs_heap_size_used_bytes') + value('nodejs_external_memory_bytes')) / MB,
      residentMb: value('process_resident_memory_bytes') / MB,
      openFiles: value('process_open_fds'),
      handles: value('nodejs_active_handles_total'),
    };
    least = least ? leastOf(least, read) : read;
  }
  return least as Kept;
}

/** Returns what grew beyond its bound, as text; empty if nothing did. */
export function growthOf(name: string, before: Kept, after: Kept): string {
  const grown = (Object.keys(MAX_GROWTH) as (keyof Kept)[]).filter((key) => after[key] - before[key] > MAX_GROWTH[key]);
  return grown
    .map((key) => `${name}: ${key} grew from ${before[key].toFixed(1)} to ${after[key].toFixed(1)}`)
    .join('; ');
}

function leastOf(one: Kept, other: Kept): Kept {
  const keys = Object.keys(one) as (keyof Kept)[];
  return Object.fromEntries(keys.map((key) => [key, Math.min(one[key], other[key])])) as unknown as Kept;
}
