import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { CollectiveKvClient, RankInput } from '@collectivekv/client';
import type { BareRequest } from './bare-graph.js';

/** The bare graph in a process of its own. */
export interface BareGraph {
  /** Milliseconds of every run. */
  run(request: BareRequest): Promise<number[]>;
  close(): void;
}

/** Starts a bare graph. */
export async function startBareGraph(bundleDir: string): Promise<BareGraph> {
  const child: ChildProcess = fork(fileURLToPath(new URL('./bare-graph.js', import.meta.url)), [bundleDir], {
    serialization: 'advanced',
  });
  await once(child, 'message');
  return {
    async run(request) {
      child.send(request);
      const [times] = (await once(child, 'message')) as [number[]];
      return times;
    },
    close: () => child.disconnect(),
  };
}

/** Milliseconds of a rank call: seen by the caller, and by the service in each of its stages. */
export interface RankTimes {
  readonly caller: number;
  readonly fetch: number;
  readonly assemble: number;
  readonly attend: number;
  readonly service: number;
}

/** Rank calls one after the other. */
export async function rankSerially(client: CollectiveKvClient, input: RankInput, runs: number): Promise<RankTimes[]> {
  const times: RankTimes[] = [];
  for (let run = 0; run < runs; run++) {
    const startedMs = performance.now();
    const { info } = await client.rank({ ...input, history: 'required' });
    const caller = performance.now() - startedMs;
    const { fetchUs = 0, assembleUs = 0, attendUs = 0, totalUs = 0 } = info.timings ?? {};
    const [fetch, assemble, attend, service] = [fetchUs, assembleUs, attendUs, totalUs].map((us) => us / 1_000);
    times.push({ caller, fetch: fetch ?? 0, assemble: assemble ?? 0, attend: attend ?? 0, service: service ?? 0 });
    if (info.rung !== 'full' || info.coldUser) throw new Error('an answer without history');
  }
  return times;
}

/** Rank calls with so many in flight, for so long; calls a second. */
export async function rankConcurrently(
  client: CollectiveKvClient,
  input: RankInput,
  { inFlight, durationMs }: { inFlight: number; durationMs: number },
): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  const lane = async () => {
    while (performance.now() - startedMs < durationMs) {
      await client.rank({ ...input, history: 'required' });
      count++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return (count * 1_000) / (performance.now() - startedMs);
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
