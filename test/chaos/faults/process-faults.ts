import { setTimeout as sleep } from 'node:timers/promises';

/** A process that faults kill and stop: a service or a redis-server. */
export interface Mortal {
  readonly pid: number;
  kill(signal?: NodeJS.Signals): Promise<void>;
  restart(): Promise<void>;
  /** Resolves when the process works again after a start. Default: at once. */
  untilReady?(): Promise<void>;
}

/** Kills a process, leaves it away for a time, and starts it again. */
export async function killed(process: Mortal, awayMs = 0, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  await process.kill(signal);
  try {
    await sleep(awayMs);
  } finally {
    await process.restart();
    await process.untilReady?.();
  }
}

/** Stops a process for a time without ending it: SIGSTOP, then SIGCONT. */
export async function stopped({ pid }: Mortal, forMs: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  try {
    await sleep(forMs);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}
