import { setTimeout as sleep } from 'node:timers/promises';
import type { BundleFollower } from '@collectivekv/bundles';
import type { Logger } from '@collectivekv/service-kit';

const POLL_MS = 50;

/**
 * Resolves when every announced bundle is loaded. An updater that took jobs before would leave holes in the records of
 * the bundles that it still loads: a canary's, or those for a rollback. A bundle that does not load must not keep
 * interactions waiting for ever. So it also resolves `patienceMs` after the active bundle was loaded.
 * @param signal ends the wait; resolves then, too
 */
export async function allLoaded(options: {
  readonly bundles: Pick<BundleFollower, 'ready' | 'announced' | 'all'>;
  readonly patienceMs: number;
  readonly log: Pick<Logger, 'warn'>;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { bundles, patienceMs, log, signal } = options;
  await bundles.ready;
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    const loaded = new Set(bundles.all().map(({ model }) => model.id));
    const lacking = bundles.announced().filter(({ bundleId }) => !loaded.has(bundleId));
    if (lacking.length === 0 || signal.aborted) return;
    if (performance.now() >= untilMs) {
      const bundleIds = lacking.map(({ bundleId }) => bundleId);
      log.warn({ bundleIds }, 'these bundles do not load; their records get no interactions until they do');
      return;
    }
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}
