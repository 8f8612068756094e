// The model's time. It moves only when a step moves it. `await`s inside a process of the model keep the process as
// their context; outside of such a context all clocks and timers are the real ones.
import { AsyncLocalStorage } from 'node:async_hooks';
import { promisify } from 'node:util';

/** What a process of the model is doing, as the context of its asynchronous work. */
export interface Context {
  /** Name of the process. */
  readonly owner: string;
  /** The updater on whose behalf a user-cache works. */
  readonly caller?: string;
}

/** A pause of a process. */
export interface Pause {
  readonly owner: string;
  readonly dueMs: number;
  /** Ends the pause. */
  wake(): void;
}

const realPause = promisify(setTimeout);
const realNow = { date: Date.now.bind(Date), performance: performance.now.bind(performance) };
const context = new AsyncLocalStorage<Context>();

const realRandom = Math.random.bind(Math);

let nowMs = 0;
/** Random numbers and ids that were given in this run. */
let drawn = 0;
let pauses: Pause[] = [];

/** Begins a run at a Unix time, without pauses. */
export function resetTime(startMs: number): void {
  nowMs = startMs;
  drawn = 0;
  pauses = [];
}

/** Returns the model's Unix ms. */
export function modelNowMs(): number {
  return nowMs;
}

/** Moves the time on. Ends no pause: a pause that is due ends when the schedule wakes it. */
export function passTime(ms: number): void {
  nowMs += Math.ceil(ms);
}

/** Returns the pauses of a process that are due, the earliest first. */
export function duePauses(owner: string): Pause[] {
  const due = pauses.filter((pause) => pause.owner === owner && pause.dueMs <= nowMs);
  return due.sort((a, b) => a.dueMs - b.dueMs);
}

/** Returns the time at which the next pause of these processes is due; infinite without a pause. */
export function nextDueMs(owners: readonly string[]): number {
  const dueMs = pauses.filter(({ owner }) => owners.includes(owner)).map((pause) => pause.dueMs);
  return Math.min(...dueMs, Number.POSITIVE_INFINITY);
}

/** Runs work as a part of a process. */
export function runAs<T>(as: Context, work: () => T): T {
  return context.run(as, work);
}

/** Returns the context of the running work; undefined outside of the model's processes. */
export function contextNow(): Context | undefined {
  return context.getStore();
}

/** Stands for `node:timers/promises` in the code under test. */
export const timersPromises = { setTimeout: pause, setImmediate: promisify(setImmediate) };

/** Stands for `Date.now`. */
export function dateNow(): number {
  return context.getStore() ? nowMs : realNow.date();
}

/** Stands for `performance.now`. */
export function performanceNow(): number {
  return context.getStore() ? nowMs : realNow.performance();
}

/** Stands for `Math.random`: the same numbers in every run. */
export function random(): number {
  return context.getStore() ? (drawn++ * 0.618034) % 1 : realRandom();
}

/** Stands for `randomUUID`: ids in no order, the same in every run. */
export function nextUuid(): string {
  const digits = Math.floor(((drawn++ * 0.618034) % 1) * 2 ** 32);
  return `${digits.toString(16).padStart(8, '0')}-0000-4000-8000-${String(drawn).padStart(12, '0')}`;
}

function pause<T>(ms = 0, value?: T, options: { readonly signal?: AbortSignal } = {}): Promise<T> {
  const owner = context.getStore()?.owner;
  if (owner === undefined) return realPause(ms, value, options) as Promise<T>;
  return new Promise((resolve, reject) => {
    const { signal } = options;
    const end = (settle: () => void) => () => {
      pauses = pauses.filter((one) => one !== own);
      signal?.removeEventListener('abort', abort);
      settle();
    };
    const own: Pause = { owner, dueMs: nowMs + ms, wake: end(() => resolve(value as T)) };
    const abort = end(() => reject(signal?.reason));
    if (signal?.aborted) return reject(signal.reason);
    signal?.addEventListener('abort', abort);
    pauses.push(own);
  });
}
