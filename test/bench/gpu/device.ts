import { performance } from 'node:perf_hooks';
import type { Tensor, Tensors } from '@collectivekv/domain';
import { createEngine, type GraphSet, type Precision, type Provider } from '@collectivekv/engine';

/** An engine that tells how long runs took. */
export interface Device {
  readonly name: string;
  load(graphs: Readonly<Record<string, string>>): Promise<GraphSet>;
  /** Runs something, and returns its time in ms: as a caller sees it, and the part that graphs ran. */
  timed<T>(work: () => Promise<T>): Promise<{ readonly answer: T; readonly times: RunTimes }>;
  close(): Promise<void>;
}

/** Times in ms. */
export interface RunTimes {
  /** From the feeds to the outputs on the main thread. */
  readonly whole: number;
  /** Of that, what the graphs took in the engine's worker, copies to and from a device included. */
  readonly graph: number;
}

/** Options of {@link openDevice}. */
export interface DeviceOptions {
  readonly provider: Provider;
  readonly precision?: Precision;
  /** Threads of a run on the CPU. */
  readonly threads: number;
}

/** Opens a device. Throws provider_missing with what to install. */
export async function openDevice({ provider, precision = 'float32', threads }: DeviceOptions): Promise<Device> {
  let graphMs = 0;
  const engine = await createEngine({
    provider,
    precision,
    workerCount: 1,
    threadsPerWorker: provider === 'cpu' ? threads : 1,
    queueLimit: 10_000,
    onRun: (_, seconds) => {
      graphMs += seconds * 1_000;
    },
  });
  return {
    name: engine.device,
    load: (paths) => engine.load(Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, { path }]))),
    async timed(work) {
      graphMs = 0;
      const begunMs = performance.now();
      const answer = await work();
      return { answer, times: { whole: performance.now() - begunMs, graph: graphMs } };
    },
    close: () => engine.close(),
  };
}

/** Copies feeds, since a run takes them away. They may have gigabytes. */
export function copyOf(feeds: Tensors): Tensors {
  const copies = Object.entries(feeds).map(([name, one]) => [name, { ...one, data: one.data.slice() } as Tensor]);
  return Object.fromEntries(copies);
}
