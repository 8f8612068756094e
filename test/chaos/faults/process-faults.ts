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
export async function killed(mortal: Mortal, awayMs = 0, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  await mortal.kill(signal);
  try {
    await sleep(awayMs);
  } finally {
    await mortal.restart();
    await mortal.untilReady?.();
  }
}

const stoppedPids = new Set<number>();
// A process that stays stopped would not see that this process has ended.
process.on('exit', () => {
  for (const pid of stoppedPids) signalIfAlive(pid, 'SIGCONT');
});

/** Stops a process for a time without ending it: SIGSTOP, then SIGCONT. */
export async function stopped({ pid }: Mortal, forMs: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  stoppedPids.add(pid);
  try {
    await sleep(forMs);
  } finally {
    signalIfAlive(pid, 'SIGCONT');
    stoppedPids.delete(pid);
  }
}

/** Another fault may have killed the process in the meantime. */
function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it has ended
  }
}
