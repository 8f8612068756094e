import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, steadyNowMs } from '@collectivekv/domain';
import {
  bundleStatus,
  cancelCandidate,
  listBundles,
  refuseUnfinishedRollback,
  whenComplete,
} from '@collectivekv/operations';
import type { Warmings } from '@collectivekv/update-queue';
import { type Command, Option } from 'commander';
import { bundleIdOf } from './bundle-id.js';
import { statusTable } from './bundle-status.js';
import type { Connections } from './connections.js';
import { percent, shareBp } from './share-option.js';

const ID = 'bundle id of 16 hexadecimal digits, or name';
const OR_COPIED = `${ID}; a bundle that was copied to the pool's folder is loaded`;
/** The pool may load a bundle and run its golden vectors before it answers. */
const LOAD_DEADLINE_MS = 300_000;

/** A replica of the pool follows another one within about a second. */
const FOLLOW_TRIES = 50;
const FOLLOW_PAUSE_MS = 100;

/** Which bundles may serve. */
interface WarmOptions {
  /** Parts per 10,000. */
  readonly minCoverage?: number;
  readonly force?: boolean;
}

const ROLLBACK_HELP = `
No rollback leads to a bundle that a rollback has left: "ckv bundle activate" returns to it. "ckv bundle status" says
where a rollback leads. The latest previous bundle is warm. An older one may lack the interactions since it was active.
It is refused below --min-coverage, unless --force is given.`;

const minCoverageOption = () =>
  new Option(
    '--min-coverage <share>',
    'least share of rank requests with a warm record, such as 80% or 0.8; default: CKV_MIN_COVERAGE of the pool service',
  ).argParser(shareBp);
const forceOption = () => new Option('--force', 'serve by the bundle whatever its coverage is');

/** Adds the commands that change which bundles serve. */
export function addSwitchCommands(bundle: Command, connections: Connections): void {
  const pool = () => connections.pool();

  bundle
    .command('status')
    .description('show the state of each bundle, its coverage, and the replicas that have loaded it')
    .action(async () => {
      const status = await bundleStatus(connections);
      connections.print(status, () => statusTable(status));
    });
  bundle
    .command('warm')
    .description('make a bundle warm: services load it, updaters write its records, and it serves nobody yet')
    .argument('<id>', OR_COPIED)
    .action((idOrName: string) => setCandidate(idOrName, { share: 0 }));
  bundle
    .command('canary')
    .description('serve a share of the users by a bundle')
    .argument('<id>', OR_COPIED)
    .requiredOption('--share <share>', 'share of the users, such as 5% or 0.05', shareBp)
    .addOption(minCoverageOption())
    .addOption(forceOption())
    .action((idOrName: string, options: { share: number } & WarmOptions) => setCandidate(idOrName, options));
  bundle
    .command('cancel')
    .description('end a canary, or the warming of a bundle: services drop it, unless it is the previous bundle')
    .argument('<id>', ID)
    .action(async (idOrName: string) => {
      const bundleId = await bundleIdOf(connections, idOrName);
      await cancelCandidate(connections, bundleId, (knownChange) =>
        pool().call('CancelCandidate', { bundleId, knownChange }, deadline()),
      );
      const state = await stateAfterCancel(connections, bundleId);
      connections.print({ bundleId, state }, () => `cancelled: ${bundleId}; ${leftText(state)}`);
    });
  bundle
    .command('activate')
    .description('make a bundle the active bundle')
    .argument('<id>', OR_COPIED)
    .addOption(minCoverageOption())
    .addOption(forceOption())
    .action(async (idOrName: string, options: WarmOptions) => {
      const bundleId = await bundleIdOf(connections, idOrName, { orCopied: true });
      const request = { bundleId, ...warmFields(options) };
      const { previousBundleId } = await whenComplete(
        connections,
        { bundleId, by: '"ckv bundle activate"' },
        (knownChange) => pool().call('Activate', { ...request, knownChange }, deadline(LOAD_DEADLINE_MS)),
      );
      connections.print({ previousBundleId }, () => `active: ${bundleId}; previously active: ${previousBundleId}`);
    });
  bundle
    .command('rollback')
    .description('end all canaries; without canaries, make the previously active bundle active again')
    .addOption(minCoverageOption())
    .addOption(forceOption())
    .addHelpText('after', ROLLBACK_HELP)
    .action(async (options: WarmOptions) => {
      const warn = (problem: string) => console.error(`warning: ${problem}`);
      const knownChange = await refuseUnfinishedRollback({ ...connections, warmings: warmingsIfNamed }, warn);
      const rolledBack = await pool().call('Rollback', { ...warmFields(options), knownChange }, deadline());
      const { activeBundleId, previousBundleId, endedCanaryIds } = rolledBack;
      connections.print(rolledBack, () =>
        endedCanaryIds.length > 0
          ? `canary ended, still warming: ${endedCanaryIds.join(', ')}; active as before: ${activeBundleId}`
          : `active: ${activeBundleId}; previously active: ${previousBundleId}`,
      );
    });

  /** A rollback must not depend on the queue's Redis: one that is not named counts as away. */
  async function warmingsIfNamed(): Promise<Warmings> {
    try {
      return await connections.warmings();
    } catch (thrown) {
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      throw new CkvError('dependency_unavailable', message, { cause: thrown });
    }
  }

  async function setCandidate(idOrName: string, { share, ...options }: { share: number } & WarmOptions): Promise<void> {
    const bundleId = await bundleIdOf(connections, idOrName, { orCopied: true });
    const request = { bundleId, shareBp: share, ...warmFields(options) };
    const set = (knownChange = 0) =>
      pool().call('SetCandidate', { ...request, knownChange }, deadline(LOAD_DEADLINE_MS));
    await (share === 0 ? set() : whenComplete(connections, { bundleId, by: '"ckv bundle canary"' }, set));
    connections.print({ bundleId, shareBp: share }, () =>
      share === 0
        ? `warming: ${bundleId}; "ckv bundle status" shows the states`
        : `canary: ${bundleId} serves ${percent(share)} of the users`,
    );
  }
}

/** Looks at a bundle that was cancelled until the replica of the pool that is asked has followed. */
async function stateAfterCancel(connections: Connections, bundleId: string): Promise<string> {
  for (let tries = 1; ; tries++) {
    const state = (await listBundles(connections)).find(({ id }) => id === bundleId)?.state ?? 'loaded';
    if ((state !== 'warming' && state !== 'canary') || tries === FOLLOW_TRIES) return state;
    await sleep(FOLLOW_PAUSE_MS);
  }
}

function leftText(state: string): string {
  if (state === 'previous')
    return 'it stays loaded as the previous bundle, for a rollback, and its records are written';
  if (state === 'loaded') return 'services drop it; records that it has stay for now';
  return `it is ${state} again`;
}

function warmFields({ minCoverage = 0, force = false }: WarmOptions): { minCoverageBp: number; force: boolean } {
  return { minCoverageBp: minCoverage, force };
}

function deadline(ms = 10_000): { deadlineMs: number } {
  return { deadlineMs: steadyNowMs() + ms };
}
