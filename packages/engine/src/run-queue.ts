import { CkvError, type Tensors } from '@collectivekv/domain';

/** When a run must start at the latest, and whether it is still wanted. */
export interface RunLimits {
  /** Unix ms. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Why the caller left already, where that is known without a signal. */
  readonly ended?: CkvError | undefined;
}

/** A run that waits for a worker. */
export interface QueuedRun {
  readonly graph: string;
  readonly feeds: Tensors;
  /** From now on it no longer leaves. */
  start(): void;
  resolve(outputs: Tensors): void;
  reject(error: CkvError): void;
}

/** Runs in order of arrival, bounded; what is past its deadline or cancelled before it starts leaves. */
export interface RunQueue {
  /** Runs that have not started. */
  readonly length: number;
  /** Rejects with overloaded at the bound, deadline or cancelled where the run left before it started. */
  push(graph: string, feeds: Tensors, limits: RunLimits): Promise<Tensors>;
  /** The first that no worker was given yet; it goes on waiting until it is started. */
  shift(): QueuedRun | undefined;
  rejectAll(error: CkvError): void;
}

const RETRY_AFTER_MS = 20;

/** Creates a queue. */
export function createRunQueue(limit: number): RunQueue {
  const queue = new Set<QueuedRun>();
  const given = new Set<QueuedRun>(); // to a worker that has another to finish first
  return {
    get length() {
      return queue.size + given.size;
    },
    push(graph, feeds, limits) {
      return new Promise((resolve, reject) => {
        const { deadlineMs, signal } = limits;
        const refused = unwanted(limits);
        if (refused) return reject(refused);
        const remainingMs = (deadlineMs ?? Number.POSITIVE_INFINITY) - Date.now();
        if (queue.size + given.size >= limit) {
          const text = `${limit} graph runs wait already; send less, or add replicas`;
          return reject(new CkvError('overloaded', text, { retryAfterMs: RETRY_AFTER_MS }));
        }
        const leave = (error: CkvError) => {
          if (queue.delete(run) || given.delete(run)) settle(() => reject(error));
        };
        const onAbort = () => leave(cancelled(signal));
        const timer = remainingMs < 2 ** 31 ? setTimeout(() => leave(late()), remainingMs) : undefined;
        const settle = (then: () => void) => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
          then();
        };
        const run: QueuedRun = {
          graph,
          feeds,
          start: () => given.delete(run),
          resolve: (outputs) => settle(() => resolve(outputs)),
          reject: (error) => settle(() => reject(error)),
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        queue.add(run);
      });
    },
    shift() {
      const [first] = queue;
      if (first) {
        queue.delete(first);
        given.add(first);
      }
      return first;
    },
    rejectAll(error) {
      for (const run of [...queue, ...given]) run.reject(error);
      queue.clear();
      given.clear();
    },
  };
}

/** Why a run need not start: its deadline passed, or its caller left. */
export function unwanted(limits: RunLimits): CkvError | undefined {
  const { deadlineMs = Number.POSITIVE_INFINITY } = limits;
  if (Date.now() >= deadlineMs) return late();
  if ('ended' in limits) return limits.ended; // its signal would be made for this alone
  return limits.signal?.aborted ? cancelled(limits.signal) : undefined;
}

function late(): CkvError {
  return new CkvError('deadline', 'the deadline passed before the graph ran');
}

function cancelled(signal: AbortSignal | undefined): CkvError {
  return signal?.reason instanceof CkvError ? signal.reason : new CkvError('cancelled', 'the caller gave up');
}
