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

/** Rank calls one after the other; milliseconds of each, seen by the caller. */
export async function rankSerially(client: CollectiveKvClient, input: RankInput, runs: number): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    const startedMs = performance.now();
    const { info } = await client.rank({ ...input, history: 'required' });
    times.push(performance.now() - startedMs);
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
