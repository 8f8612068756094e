import { lookup } from 'node:dns/promises';
import type { MetricsTarget } from './targets.js';

/** Returns `ip:port` of the replicas behind a target: one for each address of its name. */
export async function replicasOf({ host, port }: MetricsTarget): Promise<string[]> {
  const found = await lookup(host, { all: true });
  return found.map(({ address, family }) => (family === 6 ? `[${address}]:${port}` : `${address}:${port}`));
}
