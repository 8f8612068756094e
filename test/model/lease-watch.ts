import { partitionOf } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';
import { PARTITION_COUNT } from './feed.js';
import { Violation } from './record-check.js';
import type { Reply, Sent } from './redis-link.js';
import { modelNowMs } from './virtual-time.js';

/**
 * Checks the fences from outside: a write of a consumer has an effect only if Redis says that the consumer holds the
 * partition, and only for the current opening. Throws a {@link Violation}.
 */
export interface LeaseWatch {
  before(sent: Sent): Promise<void>;
  after(sent: Sent, reply: Reply): void;
}

/** Position of the partition among a script's keys and arguments; the member and the term follow it. */
const PARTITION_AT: Readonly<Record<string, number>> = {
  ckvRecoverJobs: 4 + 1,
  ckvTakeJobs: 13 + 5,
  ckvCompleteJobs: 16 + 9,
  ckvSetAsideJob: 16 + 9,
  ckvRememberProgress: 5 + 2,
  ckvStripJob: 3 + 4,
};

/** Position of the job's key, and of its id, among the keys and arguments of the script that sets a job aside. */
const JOB_KEY_AT = 11;
const JOB_ID_AT = 16;

/** Scripts that write records. */
export const RECORD_WRITES: readonly string[] = ['ckvAppendPositions', 'ckvSwapRecord', 'ckvDeleteUser'];

interface Held {
  readonly holder: string;
  readonly endsMs: number;
  readonly term: string;
}

/**
 * Creates the watch.
 * @param memberOf returns the member of an updater's name
 */
export function createLeaseWatch(redis: RedisClient, memberOf: (owner: string) => string): LeaseWatch {
  const heldBefore = new WeakMap<Sent, ReadonlyMap<number, Held>>();
  /** Scripts that were to set a job aside that was gone: they change nothing, and say that they succeeded. */
  const setAsideNothing = new WeakSet<Sent>();
  /** The token of the opening that began last, by partition. */
  const openings = new Map<number, string>();
  /** The token that a job was taken with, by partition and job. */
  const takenWith = new Map<string, string>();

  async function read(partition: number): Promise<Held> {
    const [lease, term] = await Promise.all([
      redis.hget('{ckv}:partition-leases', String(partition)),
      redis.hget('{ckv}:partition-terms', String(partition)),
    ]);
    const [holder = '', endsMs = '0'] = lease?.split(' ') ?? [];
    return { holder, endsMs: Number(endsMs), term: term ?? '' };
  }

  function partitionsOf({ name, args }: Sent): number[] {
    const at = PARTITION_AT[name];
    if (at !== undefined) return [Number(args[at])];
    if (!RECORD_WRITES.includes(name)) return [];
    const users = args.flatMap((arg) => /^ckv:\{(.*)\}:[0-9a-f]{8}(?::corrupt)?$/.exec(String(arg))?.[1] ?? []);
    return [...new Set(users.map((userId) => partitionOf(userId, PARTITION_COUNT)))];
  }

  function requireHolder(sent: Sent, partition: number, held: Held | undefined, member: string, term?: string): void {
    if (held?.holder === member && held.endsMs > modelNowMs() && (term === undefined || held.term === term)) return;
    throw new Violation(
      `${sent.name} of ${member} in term ${term ?? '?'} had an effect on partition ${partition}, which ` +
        `${held?.holder || 'nobody'} holds in term ${held?.term} until ${held?.endsMs}, at ${modelNowMs()}`,
    );
  }

  function requireToken(sent: Sent, what: string, token: string, current: string | undefined): void {
    if (token === current) return;
    throw new Violation(`${sent.name} of the opening ${token} had an effect on ${what}, which belongs to ${current}`);
  }

  function checkQueueWrite(sent: Sent, partition: number, value: unknown): void {
    const { name, args } = sent;
    const key = (id: unknown) => `${partition} ${id}`;
    const at = PARTITION_AT[name] as number;
    requireHolder(sent, partition, heldBefore.get(sent)?.get(partition), String(args[at + 1]), String(args[at + 2]));
    if (name === 'ckvRecoverJobs') {
      openings.set(partition, String(args[at + 3]));
      for (const job of takenWith.keys()) if (job.startsWith(`${partition} `)) takenWith.delete(job);
    } else if (name === 'ckvTakeJobs') {
      const token = String(args[13 + 2]);
      requireToken(sent, `partition ${partition}`, token, openings.get(partition));
      const [jobs] = value as [[unknown][]];
      for (const [id] of jobs) takenWith.set(key(id), token);
    } else if (name === 'ckvRememberProgress' || name === 'ckvStripJob') {
      requireToken(sent, `partition ${partition}`, String(args[at + 3]), openings.get(partition));
    } else {
      const settled =
        name === 'ckvCompleteJobs' ? completed(args.slice(at + 3), value) : value === 0 ? [args[JOB_ID_AT]] : [];
      for (const id of settled) {
        const token = takenWith.get(key(id));
        const carries = token !== undefined && args.some((arg) => Buffer.isBuffer(arg) && arg.includes(token));
        if (!carries) throw new Violation(`${name} settled job ${id}, which ${token ?? 'nobody'} had taken`);
        takenWith.delete(key(id));
      }
    }
  }

  return {
    async before(sent) {
      if (sent.name === 'ckvSetAsideJob' && !(await redis.exists(String(sent.args[JOB_KEY_AT]))))
        setAsideNothing.add(sent);
      const partitions = partitionsOf(sent);
      heldBefore.set(sent, new Map(await Promise.all(partitions.map(async (one) => [one, await read(one)] as const))));
    },
    after(sent, reply) {
      if (!('value' in reply) || reply.value === null || setAsideNothing.has(sent)) return;
      for (const partition of partitionsOf(sent)) {
        if (PARTITION_AT[sent.name] !== undefined) checkQueueWrite(sent, partition, reply.value);
        else if (hadEffect(sent.name, reply.value))
          requireHolder(sent, partition, heldBefore.get(sent)?.get(partition), memberOf(sent.from?.caller ?? ''));
      }
    },
  };
}

/** True unless a script that wrote records says that it changed nothing. */
function hadEffect(name: string, value: unknown): boolean {
  if (name === 'ckvSwapRecord') return value === 1;
  return name !== 'ckvDeleteUser' || (value as number[]).some((positions) => positions >= 0);
}

/** Returns the jobs that were completed: those without a problem. */
function completed(ids: readonly unknown[], value: unknown): unknown[] {
  const failed = new Set((value as [unknown][]).map(([id]) => String(id)));
  return ids.filter((id) => !failed.has(String(id)));
}
