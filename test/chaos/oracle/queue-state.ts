import { primariesOf, type RedisClient } from '@collectivekv/redis-connection';

/** Jobs of all partitions, as BullMQ's keys in Redis say. */
export interface QueueState {
  readonly waiting: number;
  readonly active: number;
  /** Delayed, prioritised and paused jobs. The product makes none. */
  readonly other: number;
  /** Jobs that were set aside. */
  readonly aside: number;
}

/** Partitions of every fleet. */
export const PARTITIONS = 16;
const prefixOf = (partition: number) => `{ckv}:interactions-${partition}`;

/** Reads the counts. */
export async function readQueueState(reader: RedisClient): Promise<QueueState> {
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => prefixOf(partition));
  const lists = (name: string) => Promise.all(partitions.map((prefix) => reader.llen(`${prefix}:${name}`)));
  const sets = (name: string) => Promise.all(partitions.map((prefix) => reader.zcard(`${prefix}:${name}`)));
  const all = await Promise.all([
    lists('wait'),
    lists('active'),
    lists('paused'),
    sets('delayed'),
    sets('prioritized'),
    sets('failed'),
  ]);
  const [waiting = 0, active = 0, paused = 0, delayed = 0, prioritized = 0, aside = 0] = all.map((counts) =>
    counts.reduce((sum, count) => sum + count, 0),
  );
  return { waiting, active, other: paused + delayed + prioritized, aside };
}

/** Returns the ids of jobs that are stored and in no list: nobody will ever take them. */
export async function findOrphans(reader: RedisClient): Promise<string[]> {
  const jobs: string[] = [];
  for (const node of primariesOf(reader)) {
    for (let cursor = '0', first = true; first || cursor !== '0'; first = false) {
      const [next, keys] = (await node.call('SCAN', [
        cursor,
        'MATCH',
        '{ckv}:interactions-*',
        'COUNT',
        '1000',
        'TYPE',
        'hash',
      ])) as [string, string[]];
      jobs.push(...keys.filter((key) => !/:(meta|added-\d)$/.test(key)));
      cursor = next;
    }
  }
  if (jobs.length === 0) return [];
  const listed = new Set<string>();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const prefix = prefixOf(partition);
    const ids = await Promise.all([
      ...['wait', 'active', 'paused'].map((name) => reader.lrange(`${prefix}:${name}`, 0, -1)),
      ...['delayed', 'prioritized', 'failed'].map((name) => reader.zrange(`${prefix}:${name}`, '0', '-1')),
    ]);
    for (const id of ids.flat()) listed.add(`${prefix}:${id}`);
  }
  return jobs.filter((job) => !listed.has(job));
}
