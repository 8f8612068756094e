import { parentPort, workerData } from 'node:worker_threads';
import type { Tensor, Tensors } from '@collectivekv/domain';
import * as ort from 'onnxruntime-node';
import { PROBE_GRAPH } from './probe-graph.js';
import type { FromWorker, ToWorker, WorkerSettings } from './protocol.js';
import { sessionOptions } from './session-options.js';
import { transferable } from './transferable.js';

const options = sessionOptions(workerData as WorkerSettings);
const sessions = new Map<string, ort.InferenceSession>();
const port = parentPort;
if (!port) throw new Error('worker.js must be started as a worker thread');

port.on('message', async (message: ToWorker) => {
  try {
    const begunMs = performance.now();
    const outputs = await perform(message);
    const seconds = (performance.now() - begunMs) / 1_000;
    port.postMessage({ id: message.id, ok: true, outputs, seconds } satisfies FromWorker, transferable(outputs));
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    port.postMessage({ id: message.id, ok: false, message: text } satisfies FromWorker);
  }
});

async function perform(message: ToWorker): Promise<Tensors> {
  switch (message.kind) {
    case 'probe': {
      await (await ort.InferenceSession.create(PROBE_GRAPH, options)).release();
      return {};
    }
    case 'load': {
      sessions.set(message.graph, await ort.InferenceSession.create(message.path, options));
      return {};
    }
    case 'release': {
      await sessions.get(message.graph)?.release();
      sessions.delete(message.graph);
      return {};
    }
    case 'run': {
      const session = sessions.get(message.graph);
      if (!session) throw new Error('the graph is not loaded');
      const feeds = Object.entries(message.feeds).map(([name, tensor]) => [name, toOrt(tensor)] as const);
      const outputs = await session.run(Object.fromEntries(feeds));
      return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, fromOrt(tensor)]));
    }
  }
}

function toOrt({ type, data, shape }: Tensor): ort.Tensor {
  return new ort.Tensor(type, data as ort.Tensor.DataType, shape as number[]);
}

function fromOrt({ type, data, dims }: ort.Tensor): Tensor {
  return { type, data, shape: [...dims] } as unknown as Tensor;
}
