import type { ErasureOptions as ClientErasureOptions, EncodingErasure, Receipt } from '@collectivekv/client';
import { CkvError, parseReceiptId, WHOLE_RECEIPT_ID } from '@collectivekv/domain';
import { Command, Option } from 'commander';
import type { Connections } from './connections.js';
import { pairs, table, time } from './print.js';

/** Options of the commands that erase. */
export interface ErasureOptions {
  readonly receiptId?: string;
  readonly wait: boolean;
}

const WAIT_MS = 60_000;
const STATES = {
  pending: 'pending: it waits for its turn; "ckv receipt ID" shows whether it is done',
  set_aside: 'set aside: it could not be done; "ckv queue failed" has the reason, "ckv queue retry" tries again',
  done: 'done',
} as const satisfies Record<Receipt['state'], string>;
const REMAINDERS = {
  nothing: 'nothing',
  later_rows: 'rows behind it, which learned from it',
  not_found: 'the interaction, if it is older than 14 events: it was not found',
} as const satisfies Record<EncodingErasure['remainder'], string>;

/** Returns the option `--receipt-id`. */
export function receiptIdOption(): Option {
  return new Option('--receipt-id <uuid>', 'id of the receipt, to repeat a call; default: a new random UUID').argParser(
    (text) => parseReceiptId(text, '--receipt-id'),
  );
}

/** Returns the option `--no-wait`. */
export function noWaitOption(): Option {
  return new Option('--no-wait', `do not wait until it is done; default: wait for ${WAIT_MS / 1_000} seconds at most`);
}

/** Returns the options of the client's call. */
export function erasureOf({ receiptId, wait }: ErasureOptions): ClientErasureOptions {
  return { wait, timeoutMs: WAIT_MS, ...(receiptId === undefined ? {} : { receiptId }) };
}

/** Creates `ckv receipt`. */
export function receiptCommand(connections: Connections): Command {
  return new Command('receipt')
    .description('show the receipt of a deletion: its state, and what was deleted')
    .argument('<id>', 'id of the receipt')
    .action(async (id: string) => {
      parseReceiptId(id, 'id', WHOLE_RECEIPT_ID);
      showReceipt(connections, await connections.client().getReceipt(id).catch(namingId));
    });
}

/** Throws a failure again; names the command's argument if no receipt has the id. */
function namingId(error: unknown): never {
  if (!(error instanceof CkvError) || error.reason !== 'receipt_not_found') throw error;
  throw new CkvError(error.reason, error.message.replace('receiptId:', 'id:'), { field: 'id', cause: error });
}

/** Prints a receipt. Sets the exit status to 1 if the erasure was set aside. */
export function showReceipt(connections: Connections, receipt: Receipt): void {
  const { receiptId, kind, state, requestedAtMs, doneAtMs, encodings, partial, tryCount, ...jobs } = receipt;
  if (state === 'set_aside') process.exitCode = 1;
  const jobCount = jobs.setAsideJobCount + jobs.waitingJobCount + jobs.keptJobCount;
  connections.print(receipt, () => {
    const facts = pairs([
      ['receipt', receiptId],
      ['erases', kind === 'user' ? 'a user' : 'an interaction'],
      ['state', STATES[state]],
      ['requested', time(requestedAtMs)],
      ...(doneAtMs === undefined ? [] : ([['done', time(doneAtMs)]] as const)),
      ...(state === 'done'
        ? ([
            ['set-aside jobs', jobs.setAsideJobCount],
            ['waiting jobs', jobs.waitingJobCount],
            ['kept jobs', jobs.keptJobCount],
            ['tries', tryCount],
          ] as const)
        : []),
      ...(state === 'done' && encodings.length === 0 && jobCount === 0
        ? ([['deleted', 'nothing was found by this deletion']] as const)
        : []),
      ...(partial ? ([['partial', 'something may remain; "ckv user delete" deletes all of the user']] as const) : []),
    ]);
    if (encodings.length === 0) return facts;
    const rows = encodings.map((one) => [
      one.encodingId,
      one.recordCount,
      one.positionCount,
      one.unreadableCount,
      REMAINDERS[one.remainder],
    ]);
    return `${facts}\n${table(['encoding', 'records', 'positions', 'unreadable', 'may remain'], rows)}`;
  });
}
