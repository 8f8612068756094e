import { Command } from 'commander';
import type { Connections } from './connections.js';
import { namedNumbers, single, wholeNumber } from './number-options.js';

interface Options {
  readonly action?: string;
  readonly feature?: Record<string, number[]>;
  readonly eventId?: string;
  readonly at?: number;
}

/** `ckv record` and `ckv forget`. */
export function recordCommands(connections: Connections): Command[] {
  const record = new Command('record')
    .description('record that a user met items')
    .argument('<user>', 'user id')
    .argument('<items...>', 'item ids, oldest first')
    .option('--action <word>', "a word of the bundle's action vocabulary")
    .option('--feature <name=v>', 'interaction feature', namedNumbers)
    .option('--event-id <id>', 'names the event; only with one item')
    .option('--at <unix-ms>', 'when it happened', wholeNumber)
    .action(async (userId: string, itemIds: string[], options: Options, command: Command) => {
      if (options.eventId !== undefined && itemIds.length > 1)
        command.error('error: --event-id names one event: give one item');
      const eventIds = await connections
        .client()
        .recordInteractions(itemIds.map((itemId) => ({ userId, itemId, ...partsOf(options) })));
      connections.print({ eventIds }, () => `queued ${eventIds.length}: ${eventIds.join(' ')}`);
    });
  const forget = new Command('forget')
    .description('remove one interaction from a user')
    .argument('<user>', 'user id')
    .argument('<event-id>', 'the event to remove')
    .option('--item <id>', 'its item, to find it when it is no recent event')
    .option('--action <word>', 'its action')
    .option('--feature <name=v>', 'its interaction feature', namedNumbers)
    .option('--at <unix-ms>', 'when it happened', wholeNumber)
    .action(async (userId: string, eventId: string, options: Options & { readonly item?: string }) => {
      const parts = { ...partsOf(options), ...(options.item === undefined ? {} : { itemId: options.item }) };
      await connections.client().forgetInteraction({ ...parts, userId, eventId });
      connections.print({ eventId }, () => `queued the removal of ${eventId}`);
    });
  return [record, forget];
}

function partsOf(options: Options) {
  return {
    features: single(options.feature),
    ...(options.action === undefined ? {} : { action: options.action }),
    ...(options.eventId === undefined ? {} : { eventId: options.eventId }),
    ...(options.at === undefined ? {} : { timestampMs: options.at }),
  };
}
