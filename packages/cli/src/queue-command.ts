import { counted } from '@collectivekv/domain';
import { MAX_FAILED_JOBS } from '@collectivekv/update-queue';
import { Command } from 'commander';
import type { Connections } from './connections.js';
import { defaultCommand } from './default-command.js';
import { wholeNumber } from './number-options.js';
import { pairs, table, time } from './print.js';

/** Creates `ckv queue`. */
export function queueCommand(connections: Connections): Command {
  const queue = new Command('queue').description('inspect the interaction queue, and retry or drop its failed jobs');
  defaultCommand(queue, 'status')
    .description('count the waiting, active and set-aside jobs (default command)')
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
    .description('list the jobs that were set aside, newest first, with the reason of each')
    .option('--limit <count>', 'number of jobs to list', wholeNumber(1, MAX_FAILED_JOBS), 20)
    .action(async ({ limit }: { limit: number }) => {
      const jobs = await (await connections.queue()).failed(limit);
      connections.print(jobs, () =>
        jobs.length === 0
          ? 'no jobs are set aside'
          : table(
              ['id', 'partition', 'set aside at', 'reason'],
              jobs.map(({ id, partition, failedAtMs, problem }) => [id, partition, time(failedAtMs), problem]),
            ),
      );
    });
  for (const [name, verb, description] of [
    ['retry', 'queued again', 'put set-aside jobs back into the queue'],
    ['drop', 'deleted', 'delete set-aside jobs permanently'],
  ] as const) {
    queue
      .command(name)
      .description(description)
      .argument('[ids...]', 'job ids; "ckv queue failed" lists them')
      .option('--all', `${name} all set-aside jobs`)
      .action(async (ids: string[], { all }: { all?: boolean }, command: Command) => {
        if ((ids.length === 0) !== (all === true)) command.error('error: give either job ids or --all');
        const count = await (await connections.queue())[name](all ? undefined : ids);
        if (count < ids.length)
          command.error(
            `error: not set aside: ${ids.length - count} of ${counted(ids.length, 'job')}; ${verb}: ${count}; see "ckv queue failed"`,
          );
        connections.print({ count }, () => `${verb}: ${count}`);
      });
  }
  return queue;
}
