import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { CkvError, type Tensors } from '@collectivekv/domain';
import type { FromWorker, ToWorker, WorkerSettings } from './protocol.js';

/** A message without the id that its sender gives it. */
export type Command = ToWorker extends infer M ? (M extends ToWorker ? Omit<M, 'id'> : never) : never;

/** A thread that holds sessions and does one thing at a time. */
export interface WorkerThread {
  /** Rejects with a CkvError: bundle_invalid or bug by onnxruntime's word, dependency_unavailable where the thread died. */
  perform(command: Command, transfer?: readonly ArrayBuffer[]): Promise<Tensors>;
  /** Resolves when the thread has ended, with the error that ended it, if any. */
  readonly ended: Promise<unknown>;
  terminate(): Promise<void>;
}

interface Pending {
  resolve(outputs: Tensors): void;
  reject(error: CkvError): void;
}

// By package name, so that it is the compiled file whether this module runs compiled or from its source.
const WORKER_PATH = createRequire(import.meta.url).resolve('@collectivekv/engine/worker');

/** Starts a thread. */
export function startWorkerThread(settings: WorkerSettings): WorkerThread {
  const worker = new Worker(WORKER_PATH, { workerData: settings });
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let dead = false;

  worker.on('message', (message: FromWorker) => {
    const waiter = pending.get(message.id);
    pending.delete(message.id);
    if (message.ok) waiter?.resolve(message.outputs);
    else waiter?.reject(new CkvError('bug', message.message, { cause: new Error(message.message) }));
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
        pending.set(id, { resolve, reject });
        worker.postMessage({ ...command, id }, transfer);
      });
    },
    async terminate() {
      await worker.terminate();
    },
  };
}
