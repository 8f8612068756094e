import { counted, steadyNowMs } from '@collectivekv/domain';
import { refuseUnfinishedRollback, whenComplete } from '@collectivekv/operations';
import type { Logger } from '@collectivekv/service-kit';
import { requireQueue, type ShownQueue } from './queue-view.js';
import type { Upstream } from './upstream.js';
import type { ChangeView } from './views.js';

/** Changes that operators make from the page, each as the owner of the token that they typed. */
export interface Changes {
  activate(request: { readonly bundleId: string; readonly force: boolean }, token: string): Promise<ChangeView>;
  rollback(request: { readonly force: boolean }, token: string): Promise<ChangeView>;
  /** Puts jobs that were set aside back into the queue: the named ones, or all if there are none. */
  retry(request: { readonly ids: readonly string[] }, token: string): Promise<ChangeView>;
}

/** The pool may load a bundle and run its golden vectors before it answers. */
const SWITCH_MS = 120_000;
const BY = 'the console';

/** Creates the changes. The log has a line for each. */
export function createChanges(parts: {
  readonly upstream: Pick<Upstream, 'as'>;
  readonly queue: ShownQueue | undefined;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}): Changes {
  const { upstream, queue, log } = parts;

  /** Returns what a switch of bundles depends on. */
  function reach({ pool, userCache }: Pick<Upstream, 'pool' | 'userCache'>) {
    return {
      pool: () => pool,
      userCache: () => userCache,
      warmings: async () => requireQueue(queue).warmings,
      claims: async () => requireQueue(queue).claims,
      note: (problem: string) => log.warn({ problem }, 'a switch of bundles'),
    };
  }

  return {
    activate: ({ bundleId, force }, token) =>
      upstream.as(token, async (services) => {
        const { previousBundleId } = await whenComplete(reach(services), { bundleId, by: BY }, (knownChange) =>
          services.pool.call('Activate', { bundleId, force, knownChange }, { deadlineMs: steadyNowMs() + SWITCH_MS }),
        );
        log.info({ bundleId, previousBundleId, force }, 'activated a bundle');
        return { done: `${bundleId} is active; before it was ${previousBundleId}` };
      }),

    rollback: ({ force }, token) =>
      upstream.as(token, async (services) => {
        const connections = reach(services);
        const knownChange = await refuseUnfinishedRollback(connections, connections.note);
        const { activeBundleId, previousBundleId, endedCanaryIds } = await services.pool.call(
          'Rollback',
          { force, knownChange },
          { deadlineMs: steadyNowMs() + SWITCH_MS },
        );
        log.info({ activeBundleId, previousBundleId, endedCanaryIds, force }, 'rolled back');
        return {
          done:
            endedCanaryIds.length > 0
              ? `ended the canary ${endedCanaryIds.join(', ')}, which still warms; active as before: ${activeBundleId}`
              : `${activeBundleId} is active again; before it was ${previousBundleId}`,
        };
      }),

    retry: ({ ids }, token) =>
      upstream.as(token, async ({ userCache }) => {
        // Redis knows no roles of ours. Whoever may count all records is an operator.
        await userCache.call('Stats', { maxRecords: 1 }, { deadlineMs: steadyNowMs() + 10_000 });
        const count = await requireQueue(queue).retry(ids.length > 0 ? ids : undefined);
        log.info({ count }, 'put set-aside jobs back');
        return { done: `put back into the queue: ${counted(count, 'job')}` };
      }),
  };
}
