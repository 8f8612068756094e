import type { Receipt } from '@collectivekv/client';
import { CkvError } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import type { Connections } from './connections.js';
import { receiptCommand } from './receipt-command.js';
import { recordCommands } from './record-command.js';

const ID = '39e54052-0000-4000-8000-000000000001';
const DONE: Receipt = {
  receiptId: ID,
  kind: 'user',
  state: 'done',
  requestedAtMs: 1,
  doneAtMs: 2,
  encodings: [],
  setAsideJobCount: 0,
  waitingJobCount: 0,
  keptJobCount: 0,
  partial: false,
  tryCount: 1,
};

/** Returns what a command prints if the updater answers with this receipt. */
async function printed(command: 'receipt' | 'record', args: string[], receipt: () => Receipt = () => DONE) {
  const lines: string[] = [];
  const connections = {
    client: () => ({
      getReceipt: async () => receipt(),
      recordInteractions: async (all: unknown[]) => all.map((_, i) => `e${i}`),
    }),
    print: (_: object, text: () => string) => lines.push(text()),
  } as unknown as Connections;
  const made = [receiptCommand(connections), ...recordCommands(connections)].find((one) => one.name() === command);
  await made?.parseAsync(args, { from: 'user' });
  return lines.join();
}

it('says that a deletion found nothing, or how many positions it deleted', async () => {
  expect(await printed('receipt', [ID])).toContain('nothing was found');
  const encoding = {
    encodingId: 'b',
    recordCount: 1,
    unreadableCount: 0,
    positionCount: 987,
    remainder: 'nothing',
  } as const;
  const found = await printed('receipt', [ID], () => ({ ...DONE, encodings: [encoding] }));
  expect(found).toContain('987');
  expect(found).not.toContain('nothing was found');
  expect(await printed('receipt', [ID], () => ({ ...DONE, keptJobCount: 1 }))).not.toContain('nothing was found');
});

it('names its own argument, and the remedy for a look-up', async () => {
  const message = 'id: is not a UUID of version 4 in lower case; give the whole id of the receipt, 36 characters';
  await expect(printed('receipt', ['39e54052'])).rejects.toMatchObject({ field: 'id', message });
  const away = () => {
    throw new CkvError('receipt_not_found', 'receiptId: no receipt has this id', { field: 'receiptId' });
  };
  await expect(printed('receipt', [ID], away)).rejects.toMatchObject({
    field: 'id',
    message: 'id: no receipt has this id',
  });
});

it('counts one interaction as one', async () => {
  expect(await printed('record', ['u', 'i'])).toBe('queued 1 interaction: e0');
  expect(await printed('record', ['u', 'i', 'j'])).toBe('queued 2 interactions: e0 e1');
});
