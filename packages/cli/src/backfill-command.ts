import { type CkvError, invalidRequest, parseManifest, steadyNowMs } from '@collectivekv/domain';
import type { ColumnMap } from '@collectivekv/interaction-log';
import {
  type BundleState,
  backfillOf,
  type HeldClaim,
  isComplete,
  listBundles,
  noteRecordsChange,
  warmingText,
  withClaim,
} from '@collectivekv/operations';
import type { Warming } from '@collectivekv/update-queue';
import { Command, InvalidArgumentError } from 'commander';
import { openBackfillFiles } from './backfill-files.js';
import { runBackfill, startBackfill } from './backfill-run.js';
import { bundleIdOf } from './bundle-id.js';
import type { Connections } from './connections.js';
import { defaultCommand } from './default-command.js';
import { wholeNumber } from './number-options.js';
import { table } from './print.js';

interface RunOptions {
  readonly bundle: string;
  readonly log?: readonly string[];
  readonly fromRedisStream?: true;
  readonly columns: ColumnMap;
  readonly rate: number;
  readonly again?: true;
}

/** Creates `ckv backfill`. */
export function backfillCommand(connections: Connections): Command {
  const backfill = new Command('backfill').description(
    'build the records of a bundle that is not active yet, from interaction logs or from the event log',
  );
  defaultCommand(backfill, 'run')
    .description('build the records, and wait until they are complete; run it again to go on (default command)')
    .requiredOption('--bundle <id>', 'bundle id of 16 hexadecimal digits, or name')
    .option('--log <files...>', 'interaction logs in order: .csv, .tsv, .jsonl, also .gz or .xz, or .parquet')
    .option('--from-redis-stream', "use the updaters' event log alone (CKV_EVENT_LOG)")
    .option('--columns <A=B,...>', 'with --log: column A is called B in the files', columnMap, {})
    .option('--rate <rows>', 'most rows to send a second', wholeNumber(1, 10_000_000), 10_000_000)
    .option('--again', 'delete records that a backfill has completed before, and build them anew')
    .action(async (options: RunOptions) => {
      const { log = [], fromRedisStream = false } = options;
      if (log.length > 0 === fromRedisStream) {
        throw invalidRequest('--log', 'or --from-redis-stream is required, not both', 'give one of them');
      }
      const warmings = await connections.warmings();
      if (fromRedisStream && (await warmings.loggedCounts()).every((count) => count === 0)) {
        throw invalidRequest(
          '--from-redis-stream',
          'finds no event log',
          'set CKV_EVENT_LOG of the updaters, or --log',
        );
      }
      const onRows = (count: number) => progress(`checked ${count.toLocaleString('en')} rows`);
      const done = await claimed(connections, options.bundle, 'backfill', async (held) => {
        const { bundleId, features } = await warmCandidate(connections, held);
        const files = fromRedisStream
          ? undefined
          : await openBackfillFiles(log, { columns: options.columns, features, onRows, onWarning: warn });
        const { claim } = held;
        const dropRecords = () => dropUnserved(connections, held);
        const ratePerS = options.rate;
        const again = options.again ?? false;
        const parts = { warmings, claim, bundleId, files, again, ratePerS, dropRecords, onProgress: progress };
        return { encodingId: claim.encodingId, warming: await runBackfill(parts) };
      });
      const { encodingId, warming } = done;
      connections.print(warming ?? { encodingId, completeBefore: true }, () => {
        const how = warming ? warmingText(warming) : 'the same backfill had ended before; --again builds them anew';
        return `the records of encoding ${encodingId} are complete; ${how}`;
      });
    });
  backfill
    .command('start')
    .description('begin before the logs are exported: what is recorded from now on, the backfill adds to them')
    .requiredOption('--bundle <id>', 'bundle id of 16 hexadecimal digits, or name')
    .option('--again', 'begin also if a backfill has completed the records before; they will be built anew')
    .action(async ({ bundle, again = false }: { bundle: string; again?: boolean }) => {
      const warmings = await connections.warmings();
      const { bundleId, encodingId } = await claimed(connections, bundle, 'backfill start', async (held) => {
        const candidate = await warmCandidate(connections, held);
        await startBackfill({
          warmings,
          claim: held.claim,
          bundleId: candidate.bundleId,
          again,
          onProgress: progress,
        });
        return candidate;
      });
      connections.print({ bundleId, encodingId }, () =>
        [
          'begun: every interaction that is applied from now on will be in the records',
          `export your logs now, to their end; then run "ckv backfill --bundle ${bundleId} --log FILE..."`,
        ].join('\n'),
      );
    });
  backfill
    .command('status')
    .description('show the encodings whose records are being built')
    .action(async () => {
      const all = await (await connections.warmings()).all();
      connections.print(all, () =>
        all.length === 0
          ? 'no records are being built'
          : table(
              ['encoding', 'bundle', 'from', 'state'],
              all.map((one) => [one.encodingId, one.bundleId, one.source, warmingText(one)]),
            ),
      );
    });
  backfill
    .command('cancel')
    .description('end a backfill, and delete the records that it built')
    .requiredOption('--bundle <id>', 'bundle id of 16 hexadecimal digits, or name')
    .action(async ({ bundle }: { bundle: string }) => {
      const warmings = await connections.warmings();
      const ended = await claimed(connections, bundle, 'backfill cancel', async (held) => {
        const { served } = held;
        const { encodingId } = held.candidate;
        const backfill = await backfillOf(connections, encodingId);
        if (served && backfill && isComplete(backfill)) {
          await warmings.finish(held.claim);
          return { ended: true, encodingId, recordsStay: true };
        }
        if (served && (served.state !== 'previous' || !backfill)) throw servedError(served, backfill);
        await noteRecordsChange(connections, { encodingId, deleted: true });
        const was = await warmings.end(held.claim);
        await held.dropRecords();
        return { ended: was, encodingId, recordsStay: false };
      });
      connections.print(ended, () => cancelledText(ended));
    });
  return backfill;
}

/** A bundle whose records nobody reads yet. */
interface Candidate {
  readonly bundleId: string;
  readonly encodingId: string;
  /** Names of its interaction features. */
  readonly features: readonly string[];
}

/** A bundle whose encoding this process has the claim on. */
interface HeldCandidate extends HeldClaim {
  readonly candidate: Candidate;
  /** A bundle with the encoding that serves users, or may serve them after a rollback. No other one begins to. */
  readonly served: BundleState | undefined;
}

/** Does work on a bundle with the claim on its encoding. */
async function claimed<T>(
  connections: Connections,
  idOrName: string,
  command: string,
  work: (held: HeldCandidate) => Promise<T>,
): Promise<T> {
  const bundleId = await bundleIdOf(connections, idOrName, { orCopied: true });
  // A bundle that the pool has not loaded yet has no encoding that is known, and serves nobody.
  const known = (await listBundles(connections)).some(({ id }) => id === bundleId);
  if (!known) await connections.pool().call('SetCandidate', { bundleId }, deadline());
  const candidate = await candidateOf(connections, bundleId);
  const { encodingId } = candidate;
  const claims = await connections.claims();
  const userCache = () => connections.userCache();
  const parts = { claims, userCache, encodingId, by: `"ckv ${command}"`, onProgress: progress };
  return withClaim(parts, async (held) => {
    const served = servedOf(await noteRecordsChange(connections, { encodingId }));
    return work({ ...held, candidate, served });
  });
}

/**
 * Makes a bundle warm, unless it is, and returns it. Call it with the claim on its encoding.
 * @throws invalid_request if its records serve users already, or are kept for a rollback, and no backfill of them is
 * under way
 */
async function warmCandidate(connections: Connections, { candidate, served }: HeldCandidate): Promise<Candidate> {
  const { bundleId, encodingId } = candidate;
  if (served) {
    if (await backfillOf(connections, encodingId)) return candidate;
    throw servedError(served, undefined);
  }
  const known = (await listBundles(connections)).find(({ id }) => id === bundleId);
  if (known?.state !== 'warming') await connections.pool().call('SetCandidate', { bundleId }, deadline());
  return candidate;
}

/** Deletes the records of a backfill that begins, unless they serve users by now. */
async function dropUnserved(connections: Connections, { candidate, dropRecords }: HeldCandidate): Promise<void> {
  const { encodingId } = candidate;
  const served = servedOf(await noteRecordsChange(connections, { encodingId, deleted: true }));
  if (served && served.state !== 'previous') throw servedError(served, await backfillOf(connections, encodingId));
  await dropRecords();
}

/** Returns a bundle that serves users, or may serve them after a rollback. */
function servedOf(bundles: readonly BundleState[]): BundleState | undefined {
  const served = bundles.filter(({ state }) => state !== 'warming');
  return served.find(({ state }) => state !== 'previous') ?? served[0];
}

const LOST =
  'if they are lost, "ckv bundle renew" writes a copy of the bundle with an encoding of its own: backfill the copy, and activate it';

/** Returns the error for records that are not to be deleted, or built anew. */
function servedError({ id, state }: BundleState, backfill: Warming | undefined): CkvError {
  const problem = `has the encoding of bundle ${id}, which is ${state}`;
  const release: Readonly<Record<string, string>> = {
    active: 'make another bundle active first ("ckv bundle activate" or "ckv bundle rollback")',
    canary: `end the canary first ("ckv bundle cancel ${id}")`,
  };
  if (!backfill) {
    const again = `to build them anew, ${release[state] ?? `run "ckv bundle warm ${id}" first`}`;
    const remedy = state === 'active' ? LOST : again;
    return invalidRequest('--bundle', problem, `its records exist already, and nothing is to be done; ${remedy}`);
  }
  const remedy = `its records would be deleted while they serve users; ${release[state]}, then cancel the backfill`;
  return invalidRequest('--bundle', problem, remedy);
}

/** What a cancellation did. */
interface Cancelled {
  readonly ended: boolean;
  readonly encodingId: string;
  readonly recordsStay: boolean;
}

function cancelledText({ ended, encodingId, recordsStay }: Cancelled): string {
  if (!ended) return 'there was no backfill; the records are deleted';
  const records = recordsStay ? 'was complete; its records serve users, and stay' : 'has ended';
  return `the backfill of encoding ${encodingId} ${records}`;
}

async function candidateOf(connections: Connections, bundleId: string): Promise<Candidate> {
  const { encodingId, manifest } = await connections.pool().call('Describe', { bundleId }, deadline());
  return { bundleId, encodingId, features: parseManifest(manifest).features.interaction.map(({ name }) => name) };
}

/** Reads `A=B,A=B`. */
function columnMap(text: string): ColumnMap {
  const columns: Record<string, string> = {};
  for (const pair of text.split(',')) {
    const [ours = '', name = '', ...rest] = pair.split('=');
    if (ours === '' || name === '' || rest.length > 0) throw new InvalidArgumentError('Give A=B, such as user_id=uid.');
    if (Object.hasOwn(columns, ours)) throw new InvalidArgumentError(`${ours} is given twice; leave one out.`);
    columns[ours] = name;
  }
  return columns;
}

/** Prints a line to stderr, in the place of the one before on a terminal. */
function progress(message: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${message}`);
  else console.error(message);
}

/** Prints a line to stderr that stays. */
function warn(text: string): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  console.error(`warning: ${text}`);
}

function deadline(): { deadlineMs: number } {
  return { deadlineMs: steadyNowMs() + 60_000 };
}
