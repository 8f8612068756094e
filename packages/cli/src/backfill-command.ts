import { invalidRequest } from '@collectivekv/domain';
import type { ColumnMap } from '@collectivekv/interaction-log';
import { backfillOf, isComplete, noteRecordsChange, warmingText } from '@collectivekv/operations';
import { Command, InvalidArgumentError } from 'commander';
import { openBackfillFiles } from './backfill-files.js';
import { requireIncomplete, runBackfill, startBackfill } from './backfill-run.js';
import type { Connections } from './connections.js';
import { defaultCommand } from './default-command.js';
import { claimed, dropUnserved, servedError, warmCandidate } from './held-candidate.js';
import { wholeNumber } from './number-options.js';
import { table } from './print.js';
import { progress, warn } from './progress.js';

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
    .option(
      '--force',
      'delete the records also if no backfill is under way that has to build them: they may be complete',
    )
    .action(async ({ bundle, force = false }: { bundle: string; force?: boolean }) => {
      const warmings = await connections.warmings();
      const cancelled = await claimed(connections, bundle, 'backfill cancel', async (held): Promise<Cancelled> => {
        const { served } = held;
        const { encodingId } = held.candidate;
        const backfill = await backfillOf(connections, encodingId);
        if (served && backfill && isComplete(backfill)) {
          await warmings.finish(held.claim);
          return { ended: true, encodingId, recordsStay: true };
        }
        if (served && (served.state !== 'previous' || !backfill)) throw servedError(served, backfill);
        if (!force) await requireIncomplete({ warmings, encodingId, backfill });
        await noteRecordsChange(connections, { encodingId, deleted: true });
        const ended = await warmings.end(held.claim);
        await held.dropRecords();
        return { ended, encodingId, recordsStay: false };
      });
      connections.print(cancelled, () => cancelledText(cancelled));
    });
  return backfill;
}

/** What a cancellation did. */
interface Cancelled {
  /** True if a backfill was under way. */
  readonly ended: boolean;
  readonly encodingId: string;
  readonly recordsStay: boolean;
}

function cancelledText({ ended, encodingId, recordsStay }: Cancelled): string {
  if (!ended) return `no backfill was under way; the records of encoding ${encodingId} are deleted`;
  if (recordsStay) return `the backfill of encoding ${encodingId} was complete; its records serve users, and stay`;
  return `the backfill of encoding ${encodingId} has ended; its records are deleted`;
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
