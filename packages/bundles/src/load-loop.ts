import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, toCkvError } from '@collectivekv/domain';

/** Loads what is wanted and lacking, one bundle at a time, and tries again after failures. */
export interface LoadLoop {
  /** Looks again what is wanted. Bundles that did not load are tried at once. */
  wake(): void;
  /** Resolves when the loop has ended. */
  readonly ended: Promise<void>;
}

/** Options of {@link startLoadLoop}. */
export interface LoadLoopOptions {
  /** Returns the ids of the bundles that are wanted and not loaded, the most urgent first. */
  readonly lacking: () => readonly string[];
  /** Loads a bundle. */
  readonly load: (bundleId: string) => Promise<void>;
  /** Called when a bundle does not load. It is tried again later, while it is wanted. */
  readonly onFailed: (bundleId: string, thrown: unknown) => void;
  /** Ends the loop, after the load that is under way. */
  readonly signal: AbortSignal;
}

const PAUSE = { firstMs: 200, longestMs: 30_000 };

/** Starts a loop. */
export function startLoadLoop({ lacking, load, onFailed, signal }: LoadLoopOptions): LoadLoop {
  /** By bundle: failures in a row, and when it is tried again, by the monotonic clock. */
  const failures = new Map<string, { readonly count: number; readonly untilMs: number }>();
  let waking = new AbortController();

  async function tryToLoad(bundleId: string): Promise<void> {
    try {
      await load(bundleId);
      failures.delete(bundleId);
    } catch (thrown) {
      if (signal.aborted) return;
      const count = (failures.get(bundleId)?.count ?? 0) + 1;
      failures.set(bundleId, { count, untilMs: performance.now() + backoffMs(count, PAUSE) });
      onFailed(bundleId, toCkvError(thrown));
    }
  }

  async function run(): Promise<void> {
    await undefined; // the caller may not have everything yet that `lacking` needs
    while (!signal.aborted) {
      const ids = lacking();
      const untilMs = (id: string) => failures.get(id)?.untilMs ?? Number.NEGATIVE_INFINITY;
      const due = ids.find((id) => untilMs(id) <= performance.now());
      if (due !== undefined) {
        await tryToLoad(due);
        continue;
      }
      const pauseMs = Math.min(...ids.map(untilMs), performance.now() + PAUSE.longestMs) - performance.now();
      const wakeOrStop = AbortSignal.any([waking.signal, signal]);
      await sleep(Math.max(0, pauseMs), undefined, { signal: wakeOrStop }).catch(() => undefined);
    }
  }

  return {
    wake() {
      failures.clear();
      waking.abort();
      waking = new AbortController();
    },
    ended: run(),
  };
}
