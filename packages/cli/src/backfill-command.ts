import { invalidRequest, parseManifest, steadyNowMs } from '@collectivekv/domain';
import type { ColumnMap } from '@collectivekv/interaction-log';
import { Command, InvalidArgumentError } from 'commander';
import { openBackfillFiles } from './backfill-files.js';
import { describe, runBackfill, startBackfill } from './backfill-run.js';
import { bundleIdOf } from './bundle-id.js';
import { listBundles } from './bundle-states.js';
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
    .action(async (options: RunOptions) => {
      const { log = [], fromRedisStream = false } = options;
      if (log.length > 0 === fromRedisStream) {
        throw invalidRequest('--log', 'or --from-redis-stream is required, not both', 'give one of them');
      }
      const { bundleId, encodingId, features } = await warmCandidate(connections, options.bundle);
      const warmings = await connections.warmings();
      if (fromRedisStream && (await warmings.loggedCounts()).every((count) => count === 0)) {
        throw invalidRequest(
          '--from-redis-stream',
          'finds no event log',
          'set CKV_EVENT_LOG of the updaters, or --log',
        );
      }
      const onRows = (count: number) => progress(`checked ${count.toLocaleString('en')} rows`);
      const files = fromRedisStream
        ? undefined
        : await openBackfillFiles(log, { columns: options.columns, features, onRows });
      const done = await runBackfill({
        warmings,
        encodingId,
        bundleId,
        files,
        ratePerS: options.rate,
        dropRecords: () => dropRecords(connections, encodingId),
        onProgress: progress,
      });
      connections.print(done, () => `the records of encoding ${encodingId} are complete; ${describe(done)}`);
    });
  backfill
    .command('start')
    .description('begin before the logs are exported: what is recorded from now on, the backfill adds to them')
    .requiredOption('--bundle <id>', 'bundle id of 16 hexadecimal digits, or name')
    .action(async ({ bundle }: { bundle: string }) => {
      const { bundleId, encodingId } = await warmCandidate(connections, bundle);
      await startBackfill({ warmings: await connections.warmings(), encodingId, bundleId, onProgress: progress });
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
              all.map((one) => [one.encodingId, one.bundleId, one.source, describe(one)]),
            ),
      );
    });
  backfill
    .command('cancel')
    .description('end a backfill, and delete the records that it built')
    .requiredOption('--bundle <id>', 'bundle id of 16 hexadecimal digits, or name')
    .action(async ({ bundle }: { bundle: string }) => {
      const { encodingId } = await candidateOf(connections, bundle);
      await refuseServed(connections, encodingId);
      const ended = await (await connections.warmings()).end(encodingId);
      await dropRecords(connections, encodingId);
      connections.print({ ended }, () =>
        ended ? `the backfill of encoding ${encodingId} has ended` : 'there was no backfill; the records are deleted',
      );
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

/**
 * Makes a bundle warm, unless it is, and returns it.
 * @throws invalid_request if its records serve users already, or are kept for a rollback
 */
async function warmCandidate(connections: Connections, idOrName: string): Promise<Candidate> {
  const bundleId = await bundleIdOf(connections, idOrName);
  const known = (await listBundles(connections)).find(({ id }) => id === bundleId);
  if (known) await refuseServed(connections, known.encodingId);
  if (known?.state !== 'warming') await connections.pool().call('SetCandidate', { bundleId }, deadline());
  const candidate = await candidateOf(connections, bundleId);
  await refuseServed(connections, candidate.encodingId);
  return candidate;
}

/** Throws invalid_request if a bundle with this encoding serves users, or may serve them after a rollback. */
async function refuseServed(connections: Connections, encodingId: string): Promise<void> {
  const served = (await listBundles(connections)).find(
    (one) => one.encodingId === encodingId && !['warming', 'loaded'].includes(one.state),
  );
  if (!served) return;
  const problem = `has the encoding of bundle ${served.id}, which is ${served.state}`;
  throw invalidRequest('--bundle', problem, 'its records exist already: activate it, or cancel that bundle first');
}

async function candidateOf(connections: Connections, idOrName: string): Promise<Candidate> {
  const bundleId = await bundleIdOf(connections, idOrName);
  const { encodingId, manifest } = await connections.pool().call('Describe', { bundleId }, deadline());
  return { bundleId, encodingId, features: parseManifest(manifest).features.interaction.map(({ name }) => name) };
}

async function dropRecords(connections: Connections, encodingId: string): Promise<void> {
  let cursor = '';
  do {
    const request = { encodingId, cursor };
    ({ nextCursor: cursor } = await connections.userCache().call('DropRecords', request, deadline()));
  } while (cursor !== '');
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

function deadline(): { deadlineMs: number } {
  return { deadlineMs: steadyNowMs() + 60_000 };
}
