import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { CkvError, type Tensors } from '@collectivekv/domain';
import type { FromWorker, ToWorker, WorkerSettings } from './protocol.js';

/** A message to the worker without its id. */
export type Command = ToWorker extends infer M ? (M extends ToWorker ? Omit<M, 'id'> : never) : never;

/** A thread that holds sessions and runs one graph at a time. */
export interface WorkerThread {
  /**
   * Sends a command and returns the outputs of a run, or no outputs.
   * @param transfer buffers of the command to transfer instead of copying them
   * @throws bug with onnxruntime's message; dependency_unavailable if the thread died
   */
  perform(command: Command, transfer?: readonly ArrayBuffer[]): Promise<Tensors>;
  /** Resolves when the thread has ended, with the error that ended it; undefined without one. */
  readonly ended: Promise<unknown>;
  terminate(): Promise<void>;
}

/** Called after each run, with the graph's key and the time that the run took in the thread, seconds. */
export type OnRun = (graph: string, seconds: number) => void;

interface Pending {
  readonly command: Command;
  resolve(outputs: Tensors): void;
  reject(error: CkvError): void;
}

// Resolved by package name: that finds the compiled file even if this module runs from its source.
const WORKER_PATH = createRequire(import.meta.url).resolve('@collectivekv/engine/worker');

/** Starts a thread. */
export function startWorkerThread(settings: WorkerSettings, onRun: OnRun = () => undefined): WorkerThread {
  const worker = new Worker(WORKER_PATH, { workerData: settings });
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let dead = false;

  worker.on('message', (message: FromWorker) => {
    const waiter = pending.get(message.id);
    pending.delete(message.id);
    if (message.ok) {
      if (waiter?.command.kind === 'run') onRun(waiter.command.graph, message.seconds);
      waiter?.resolve(message.outputs);
    } else waiter?.reject(new CkvError('bug', message.message, { cause: new Error(message.message) }));
  });
  let cause: unknown;
  worker.on('error', (error) => {
    cause = error;
  });
  const ended = new Promise<unknown>((resolve) => {
    worker.on('exit', () => {
      dead = true;
      const error = new CkvError('dependency_unavailable', 'the graph worker died; it is being replaced', { cause });
      for (const waiter of pending.values()) waiter.reject(error);
      pending.clear();
      resolve(cause);
    });
  });

  return {
    ended,
    perform(command, transfer = []) {
      return new Promise((resolve, reject) => {
        if (dead) return reject(new CkvError('dependency_unavailable', 'the graph worker died; it is being replaced'));
        const id = nextId++;
        pending.set(id, { command, resolve, reject });
        worker.postMessage({ ...command, id }, transfer);
      });
    },
    async terminate() {
      await worker.terminate();
    },
  };
}
