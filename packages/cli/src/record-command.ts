import { LIMITS, RECENT_EVENT_RING } from '@collectivekv/domain';
import { Command } from 'commander';
import type { Connections } from './connections.js';
import { namedNumber, wholeNumber } from './number-options.js';
import { type ErasureOptions, erasureOf, noWaitOption, receiptIdOption, showReceipt } from './receipt-command.js';
import { warnOfUnknownNames } from './unknown-names.js';

const timestamp = wholeNumber(LIMITS.minTimestampMs, LIMITS.timestampMs);

interface Options {
  readonly action?: string;
  readonly feature?: Record<string, number>;
  readonly eventId?: string;
  readonly at?: number;
}

/** Creates `ckv record` and `ckv forget`. */
export function recordCommands(connections: Connections): Command[] {
  const record = new Command('record')
    .description('queue interactions of a user with items')
    .argument('<user>', 'user id')
    .argument('<items...>', 'item ids, oldest first')
    .option('--action <word>', 'action, such as like; "ckv bundle show" lists the actions; default: no action')
    .option('--feature <name=v>', "interaction feature; repeatable; default: the bundle's default", namedNumber)
    .option('--event-id <id>', 'id of the event, for one item only; default: a random id')
    .option('--at <unix-ms>', 'time of the interactions in Unix milliseconds; default: now', timestamp)
    .action(async (userId: string, itemIds: string[], options: Options, command: Command) => {
      if (options.eventId !== undefined && itemIds.length > 1)
        command.error(`error: --event-id names one event, not ${itemIds.length}; give one item`);
      await warnOfUnknownNames(connections, options);
      const eventIds = await connections
        .client()
        .recordInteractions(itemIds.map((itemId) => ({ userId, itemId, ...partsOf(options) })));
      connections.print({ eventIds }, () => {
        const noun = eventIds.length === 1 ? 'interaction' : 'interactions';
        return `queued ${eventIds.length} ${noun}: ${eventIds.join(' ')}`;
      });
    });
  const forget = new Command('forget')
    .description('remove one interaction of a user, in turn with the queued interactions')
    .argument('<user>', 'user id')
    .argument('<event-id>', 'id of the event to remove')
    .option('--item <id>', "the interaction's item")
    .option('--action <word>', "the interaction's action")
    .option('--feature <name=v>', "the interaction's feature; repeatable", namedNumber)
    .option('--at <unix-ms>', "the interaction's time in Unix milliseconds", timestamp)
    .addOption(receiptIdOption())
    .addOption(noWaitOption())
    .addHelpText(
      'after',
      `
A record knows the ids of its ${RECENT_EVENT_RING} newest events. If the event may be older, repeat the options with
which it was recorded: --item, --action, --feature and --at.`,
    )
    .action(async (userId: string, eventId: string, options: Options & ErasureOptions & { readonly item?: string }) => {
      const parts = { ...partsOf(options), ...(options.item === undefined ? {} : { itemId: options.item }) };
      await warnOfUnknownNames(connections, options);
      const forgotten = { ...parts, userId, eventId };
      showReceipt(connections, await connections.client().forgetInteraction(forgotten, erasureOf(options)));
    });
  return [record, forget];
}

function partsOf(options: Options) {
  return {
    features: options.feature ?? {},
    ...(options.action === undefined ? {} : { action: options.action }),
    ...(options.eventId === undefined ? {} : { eventId: options.eventId }),
    ...(options.at === undefined ? {} : { timestampMs: options.at }),
  };
}
