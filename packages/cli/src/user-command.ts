import {
  createRowLayout,
  decodeRecord,
  fullKvBytes,
  parseManifest,
  readField,
  steadyNowMs,
  type UserRecord,
} from '@collectivekv/domain';
import type { ResponseOf } from '@collectivekv/rpc';
import { Command } from 'commander';
import { bundleIdOf } from './bundle-id.js';
import type { Connections } from './connections.js';
import { wholeNumber } from './number-options.js';
import { pairs, table, time } from './print.js';
import { type ErasureOptions, erasureOf, noWaitOption, receiptIdOption, showReceipt } from './receipt-command.js';

/** Creates `ckv user` and `ckv stats`. */
export function userCommands(connections: Connections): Command[] {
  const user = new Command('user').description("show a user's record, or delete the user");
  user
    .command('show', { isDefault: true })
    .description('show the record and its newest positions (default command)')
    .argument('<user>', 'user id')
    .option('--bundle <id>', 'show the record that this bundle reads, an id or a name; default: the active bundle')
    .option('--rows <count>', 'number of newest positions to show', wholeNumber(0, 1_000_000), 5)
    .action((userId: string, options: { bundle?: string; rows: number }) => show(connections, userId, options));
  user
    .command('delete')
    .description('delete everything that is stored of the user, in turn with the queued interactions')
    .argument('<user>', 'user id')
    .addOption(receiptIdOption())
    .addOption(noWaitOption())
    .action(async (userId: string, options: ErasureOptions) => {
      showReceipt(connections, await connections.client().deleteUser(userId, erasureOf(options)));
    });
  const stats = new Command('stats')
    .description('count users, positions and bytes in Redis')
    .option('--bundle <id>', 'count the records that this bundle reads, an id or a name; default: all records')
    .action(async (options: { bundle?: string }) => {
      const bundle = options.bundle === undefined ? undefined : await describe(connections, options.bundle);
      const request = { encodingId: bundle?.encodingId ?? '', maxRecords: 0 };
      const counts = await connections.userCache().call('Stats', request, deadline(120_000));
      connections.print(
        counts,
        () =>
          pairs([
            ['records', counts.recordCount],
            ['positions', counts.positionCount],
            ['interactions in total', counts.lifetimeCount],
            ['bytes in Redis', counts.memoryBytes],
            ['bytes by the ledger', `${counts.ledgerBytes} (${differenceText(counts)})`],
            ['bytes per position', (counts.memoryBytes / Math.max(1, counts.positionCount)).toFixed(2)],
            ...(counts.truncated ? ([['truncated', 'more records exist']] as const) : []),
          ]) + (counts.encodings.length > 1 ? `\n${encodingsTable(counts.encodings)}` : ''),
      );
    });
  return [user, stats];
}

type Counts = ResponseOf<'UserCacheService', 'Stats'>['encodings'][number];

function encodingsTable(encodings: readonly Counts[]): string {
  return table(
    ['encoding', 'records', 'positions', 'bytes in Redis', 'by the ledger', 'Redis against the ledger'],
    encodings.map((one) => [
      one.encodingId,
      one.recordCount,
      one.positionCount,
      one.memoryBytes,
      one.ledgerBytes,
      differenceText(one),
    ]),
  );
}

/** Returns how much more or less Redis counts than the ledger. */
function differenceText({ memoryBytes, ledgerBytes }: Pick<Counts, 'memoryBytes' | 'ledgerBytes'>): string {
  if (ledgerBytes === 0) return 'no records';
  const percent = 100 * (memoryBytes / ledgerBytes - 1);
  return `Redis counts ${Math.abs(percent).toFixed(1)} % ${percent < 0 ? 'less' : 'more'}`;
}

async function show(
  connections: Connections,
  userId: string,
  options: { readonly bundle?: string; readonly rows: number },
): Promise<void> {
  const { bundleId, encodingId, manifest: manifestBytes } = await describe(connections, options.bundle);
  const manifest = parseManifest(manifestBytes);
  const { records } = await connections.userCache().call('GetRecords', { encodingId, userIds: [userId] }, deadline());
  const bytes = records[0];
  if (!bytes?.length) {
    const text = `user ${userId} has no record of encoding ${encodingId}, which bundle ${bundleId} reads`;
    connections.print({ userId, bundleId, encodingId, record: null }, () => text);
    return;
  }
  const layout = createRowLayout(manifest);
  const record = decodeRecord(bytes, { encodingId, strideBytes: layout.strideBytes });
  const { positionCount, lifetimeCount, lastEventMs, strideBytes } = record;
  const newest = newestRows(record, options.rows);
  const columns = layout.fields.map((field) => {
    const values = new Float32Array((newest.length / strideBytes) * field.width);
    readField(newest, strideBytes, field, values);
    return { name: field.name, width: field.width, values };
  });
  const positions = Array.from({ length: newest.length / strideBytes }, (_, row) =>
    Object.fromEntries(
      columns.map(({ name, width, values }) => [name, [...values.subarray(row * width, (row + 1) * width)]]),
    ),
  );
  const ids = { userId, bundleId, encodingId };
  const answer = { ...ids, bytes: bytes.length, positionCount, lifetimeCount, lastEventMs, positions };
  connections.print(answer, () => {
    const facts = pairs([
      ['bundle', bundleId],
      ['encoding', encodingId],
      ['positions', `${positionCount} of at most ${manifest.maxPositions}`],
      ['interactions in total', lifetimeCount],
      ['newest interaction', time(lastEventMs)],
      ['bytes', `${bytes.length} (a full float32 KV cache: ${positionCount * fullKvBytes(manifest)})`],
    ]);
    const head = ['position', ...columns.map(({ name }) => name)];
    const rows = positions.map((position, i) => [
      positionCount - positions.length + i,
      ...Object.values(position).map((values) => values.map((value) => Number(value.toPrecision(4))).join(' ')),
    ]);
    return `${facts}\n${table(head, rows)}`;
  });
}

/** Describes a bundle of the pool, given its id or its name; the active bundle if neither is given. */
async function describe(connections: Connections, idOrName: string | undefined) {
  const bundleId = idOrName === undefined ? '' : await bundleIdOf(connections, idOrName);
  return connections.pool().call('Describe', { bundleId }, deadline());
}

function newestRows({ rows, strideBytes }: UserRecord, count: number): Uint8Array {
  return rows.subarray(Math.max(0, rows.length - count * strideBytes));
}

function deadline(ms = 5_000): { deadlineMs: number } {
  return { deadlineMs: steadyNowMs() + ms };
}
