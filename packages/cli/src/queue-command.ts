import { Command } from 'commander';
import type { Connections } from './connections.js';
import { wholeNumber } from './number-options.js';
import { pairs, table, time } from './print.js';

/** `ckv queue`. */
export function queueCommand(connections: Connections): Command {
  const queue = new Command('queue').description('the interaction queue');
  queue
    .command('status', { isDefault: true })
    .description('count jobs that wait, are worked on, and were set aside')
    .action(async () => {
      const partitions = await (await connections.queue()).counts();
      const sum = (key: 'waiting' | 'active' | 'failed') =>
        partitions.reduce((total, counts) => total + counts[key], 0);
      connections.print({ waiting: sum('waiting'), active: sum('active'), failed: sum('failed'), partitions }, () => {
        const busy = partitions.filter(({ waiting, active, failed }) => waiting + active + failed > 0);
        const facts = pairs([
          ['waiting', sum('waiting')],
          ['active', sum('active')],
          ['set aside', sum('failed')],
        ]);
        const rows = busy.map(({ partition, waiting, active, failed }) => [partition, waiting, active, failed]);
        return rows.length === 0 ? facts : `${facts}\n${table(['partition', 'waiting', 'active', 'set aside'], rows)}`;
      });
    });
  queue
    .command('failed')
    .description('show jobs that were set aside, and why')
    .option('--limit <count>', 'at most so many', wholeNumber, 20)
    .action(async ({ limit }: { limit: number }) => {
      const jobs = await (await connections.queue()).failed(limit);
      connections.print(jobs, () =>
        jobs.length === 0
          ? 'no job was set aside'
          : table(
              ['id', 'partition', 'when', 'why'],
              jobs.map(({ id, partition, failedAtMs, problem }) => [id, partition, time(failedAtMs), problem]),
            ),
      );
    });
  for (const [name, verb, description] of [
    ['retry', 'queued again', 'put jobs that were set aside back into the queue'],
    ['drop', 'deleted', 'delete jobs that were set aside, for good'],
  ] as const) {
    queue
      .command(name)
      .description(description)
      .argument('[ids...]', 'job ids')
      .option('--all', 'all of them')
      .action(async (ids: string[], { all }: { all?: boolean }, command: Command) => {
        if ((ids.length === 0) !== (all === true)) command.error('error: name job ids, or give --all');
        const count = await (await connections.queue())[name](all ? undefined : ids);
        if (count < ids.length)
          command.error(`error: ${ids.length - count} of these jobs are not set aside; ${verb}: ${count}`);
        connections.print({ count }, () => `${verb}: ${count}`);
      });
  }
  return queue;
}
