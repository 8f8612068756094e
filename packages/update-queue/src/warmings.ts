import { allDone, CkvError, type Interaction, invalidRequest, partitionOf } from '@collectivekv/domain';
import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { claimOver, type EncodingClaim } from './encoding-claims.js';
import { entryOf } from './event-log.js';
import { readScript } from './lua-script.js';
import {
  encodingClaimsKey,
  eventLogKey,
  finishedWarmingsKey,
  leaseKeys,
  partitionQueueName,
  queuePrefix,
  warmingKeys,
  warmingPrefix,
  warmingsKey,
} from './queue-names.js';
import type { WarmingPhase } from './warming-feed.js';

/** What builds the records of an encoding. */
export interface WarmingPlan {
  /** A bundle of the encoding. */
  readonly bundleId: string;
  /** Interaction logs, or nothing but the event log. */
  readonly source: 'files' | 'log';
  /** Digest of the files and their order; empty without files, or before they are known. */
  readonly digest: string;
  /** Rows of the files; 0 without files. */
  readonly rowCount: number;
  /** Digest of each file, in order; absent if they are not known. */
  readonly fileDigests?: readonly string[];
}

/** An encoding that is being warmed. */
export interface Warming extends WarmingPlan {
  readonly encodingId: string;
  readonly partitions: readonly WarmingPartition[];
}

/** A warming that was finished: the encoding's records were complete then. */
export interface FinishedWarming extends WarmingPlan {
  /** By the clock of Redis, Unix ms, to a second. */
  readonly finishedAtMs: number;
}

/** How far one partition is. */
export interface WarmingPartition {
  readonly partition: number;
  readonly phase: WarmingPhase;
  /** Rows of the files, of all partitions, that were sent or left to other partitions. */
  readonly sentCount: number;
  /** Interactions that were applied, those of the event log included. */
  readonly appliedCount: number;
  /** Rows of the files that wait. */
  readonly waitingCount: number;
  /** Time between the next entry of the event log to apply and its newest, ms; 0 in other phases than `log`. */
  readonly lagMs: number;
}

/** Ids of jobs of one partition. */
export type JobsOf = readonly string[];

/** Most encodings that are warmed at once. */
export const MAX_WARMINGS = 4;
/** Most rows of files that wait in a partition. */
export const MAX_WAITING_ROWS = 20_000;
/** More jobs than an updater has in hand of a partition: a batch that is applied, and the next one. */
const MOST_IN_HAND = 256;
/** Most rows of one call. */
const MAX_SENT_ROWS = 500;

/**
 * Begins, feeds and ends the warming of encodings, for operators. What changes something takes the claim on the
 * encoding, and throws conflict if another process has had it since. Throws dependency_unavailable.
 */
export interface Warmings {
  /** Returns the encodings that are being warmed. */
  all(): Promise<Warming[]>;
  /**
   * Begins to warm an encoding; nothing is applied before {@link open}. Returns false if it is being warmed.
   * @param again true also if its warming was finished: its records are complete, and {@link open} wants them deleted
   * @throws overloaded if {@link MAX_WARMINGS} others are; conflict if its warming was finished;
   * invalid_request if the updaters have more partitions
   */
  begin(claim: EncodingClaim, plan: WarmingPlan, again?: boolean): Promise<boolean>;
  /** Returns the finished warming of an encoding; undefined without one, and while it is warmed again. */
  finished(encodingId: string): Promise<FinishedWarming | undefined>;
  /** Replaces the plan of an encoding that is being warmed, with the same source. */
  replan(claim: EncodingClaim, plan: WarmingPlan): Promise<void>;
  /**
   * Lets the updaters apply interactions, if every partition is armed. Delete the encoding's records before it.
   * @returns the number of partitions that are not armed: their updaters do not know of the warming yet
   */
  open(claim: EncodingClaim): Promise<number>;
  /**
   * Sends the next rows of the files to their partitions. What a partition has got before, it does not get again. So a
   * sender that died sends all rows again.
   * @param from rows of the files before these
   * @param last true if no further row follows
   * @param digest digest of the files, the same in all calls of a warming
   * @returns the partitions that have no room. Send the same rows again later
   * @throws conflict if the encoding takes no files now, or rows before these are missing, or it has rows of other files
   */
  send(
    claim: EncodingClaim,
    rows: readonly Interaction[],
    from: number,
    last: boolean,
    digest?: string,
  ): Promise<readonly number[]>;
  /** Ends the warming, whatever its phase, and forgets a finished one. Returns false if there was none. */
  end(claim: EncodingClaim): Promise<boolean>;
  /** Ends the warming if it is live in every partition. Returns false if it is not. */
  finish(claim: EncodingClaim): Promise<boolean>;
  /** Returns the newest job that waits in each partition; none if none waits. */
  newestJobs(): Promise<JobsOf[]>;
  /** Returns the jobs of each partition that are being applied, and those that would come next after a crash. */
  jobsInHand(): Promise<JobsOf[]>;
  /** Returns the number of jobs of each partition that are left up to the given ones; 0 if none of these is left. */
  leftUpTo(jobs: readonly JobsOf[]): Promise<number[]>;
  /** Returns the number of interactions in the event log of each partition. */
  loggedCounts(): Promise<number[]>;
}

type Arg = string | number;

interface Commands {
  ckvBeginWarming(...args: Arg[]): Promise<1 | 0 | -1 | -2 | null>;
  ckvReplanWarming(...args: Arg[]): Promise<0 | 1 | null>;
  ckvOpenWarming(...args: Arg[]): Promise<number | null>;
  ckvSendFiles(...args: Arg[]): Promise<[code: 1 | 0 | -1 | -2 | -3, count: number] | null>;
  ckvEndWarming(...args: Arg[]): Promise<0 | 1 | -1 | null>;
}

const SCRIPTS = {
  ckvBeginWarming: readScript('begin-warming-3.lua'),
  ckvReplanWarming: readScript('replan-warming-2.lua'),
  ckvOpenWarming: readScript('open-warming-2.lua'),
  ckvSendFiles: readScript('send-files-3.lua'),
  ckvEndWarming: readScript('end-warming-3.lua'),
} as const satisfies Record<keyof Commands, unknown>;

/** Returns the version of what is being warmed: it changes whenever an updater has to look. */
export async function warmingVersion(client: RedisClient, keyPrefix: string): Promise<number> {
  return Number((await reachingRedis(() => client.hget(warmingsKey(keyPrefix), 'version'))) ?? 0);
}

/** True if an encoding is being warmed. */
export async function isBeingWarmed(client: RedisClient, keyPrefix: string, encodingId: string): Promise<boolean> {
  return (await reachingRedis(() => client.hexists(warmingsKey(keyPrefix), encodingId))) === 1;
}

/** Opens the warming. */
export function openWarmings(options: {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  readonly partitionCount: number;
}): Warmings {
  const { client, keyPrefix, partitionCount } = options;
  for (const [name, script] of Object.entries(SCRIPTS)) client.defineCommand(name, script);
  const commands = client as unknown as Commands;
  const key = warmingsKey(keyPrefix);
  const claims = encodingClaimsKey(keyPrefix);
  const finished = finishedWarmingsKey(keyPrefix);
  const everywhere = [warmingPrefix(keyPrefix), partitionCount];
  const partitions = Array.from({ length: partitionCount }, (_, partition) => partition);

  /** Throws invalid_request if an updater holds a partition beyond this count: its records would get holes. */
  async function requireAllPartitions(): Promise<void> {
    const { leases } = leaseKeys(keyPrefix);
    const [lease, [seconds]] = await Promise.all([client.hget(leases, String(partitionCount)), client.time()]);
    const endsMs = Number(lease?.split(' ')[1] ?? 0);
    if (endsMs <= Number(seconds) * 1_000) return;
    const problem = `is ${partitionCount}, and the updaters have more partitions`;
    throw invalidRequest('CKV_PARTITIONS', problem, "set it to the updaters' value");
  }

  /** Returns the time between the first entry after a place and the newest entry, ms. */
  async function lagBehind(log: string, cursor: string): Promise<number> {
    const [next, newest] = await Promise.all([
      client.xrange(log, `(${cursor}`, '+', 'COUNT', 1),
      client.xrevrange(log, '+', '-', 'COUNT', 1),
    ]);
    return next[0] ? Math.max(0, msOf(newest[0]?.[0]) - msOf(next[0][0])) : 0;
  }

  async function stateOf(encodingId: string, partition: number): Promise<WarmingPartition> {
    const { states, files } = warmingKeys(keyPrefix, partition);
    const names = ['phase', 'sent', 'applied', 'cursor'].map((name) => `${encodingId}:${name}`);
    const [[phase, sent, applied, cursor], waitingCount] = await Promise.all([
      client.hmget(states, ...names),
      client.xlen(files(encodingId)),
    ]);
    const lagMs = phase === 'log' ? await lagBehind(eventLogKey(keyPrefix, partition), cursor ?? '0-0') : 0;
    return {
      partition,
      phase: (phase ?? 'begun') as WarmingPhase,
      sentCount: Number(sent ?? 0),
      appliedCount: Number(applied ?? 0),
      waitingCount,
      lagMs,
    };
  }

  /** Runs a script that changes something. Throws conflict if the claim is over. */
  const claimed = <T>(claim: EncodingClaim, call: () => Promise<T | null>): Promise<T> =>
    reachingRedis(async () => {
      const answer = await call();
      if (answer === null) throw claimOver(claim);
      return answer;
    });

  async function sendTo(partition: number, claim: EncodingClaim, rows: readonly Interaction[], rest: Arg[]) {
    const { states, files } = warmingKeys(keyPrefix, partition);
    const { encodingId, token } = claim;
    const args = [encodingId, ...rest, token, ...rows.flatMap(entryOf)];
    return claimed(claim, () => commands.ckvSendFiles(states, files(encodingId), claims, ...args));
  }

  const endIf = (claim: EncodingClaim, live: 0 | 1) =>
    claimed(claim, () =>
      commands.ckvEndWarming(key, claims, finished, ...everywhere, claim.encodingId, claim.token, live),
    );

  const inEach = <T>(read: (queue: string, partition: number) => Promise<T>): Promise<T[]> =>
    reachingRedis(() =>
      Promise.all(partitions.map((one) => read(`${queuePrefix(keyPrefix)}:${partitionQueueName(one)}`, one))),
    );

  /** Jobs wait newest first. */
  async function leftOf(queue: string, jobs: JobsOf): Promise<number> {
    const counts = jobs.map(async (id) => {
      const place = () => client.lpos(`${queue}:wait`, id, 'RANK', -1);
      const [before, active, after, length] = await Promise.all([
        place(),
        client.lpos(`${queue}:active`, id),
        place(),
        client.llen(`${queue}:wait`),
      ]);
      const waits = after ?? before;
      return Math.max(waits === null ? 0 : length - waits, waits === null && active === null ? 0 : 1);
    });
    return (await Promise.all(counts)).reduce((most, count) => Math.max(most, count), 0);
  }

  return {
    all: () =>
      reachingRedis(async () => {
        const { version: _, ...plans } = await client.hgetall(key);
        const found = Object.entries(plans).map(async ([encodingId, json]) => ({
          ...(JSON.parse(json) as WarmingPlan),
          encodingId,
          partitions: await Promise.all(partitions.map((partition) => stateOf(encodingId, partition))),
        }));
        return Promise.all(found);
      }),
    async begin(claim, plan, again = false) {
      const args = [claim.encodingId, claim.token, plan.source, JSON.stringify(plan), MAX_WARMINGS, again ? 1 : 0];
      await reachingRedis(requireAllPartitions);
      const begun = await claimed(claim, () => commands.ckvBeginWarming(key, claims, finished, ...everywhere, ...args));
      if (begun === -2) throw new CkvError('conflict', 'the records of the encoding are complete already');
      if (begun === -1) {
        throw new CkvError('overloaded', `${MAX_WARMINGS} encodings are being warmed; end one of them first`);
      }
      return begun === 1;
    },
    finished: (encodingId) =>
      reachingRedis(async () => {
        const [, seconds, json] = /^(\d+) (.*)$/s.exec((await client.hget(finished, encodingId)) ?? '') ?? [];
        if (json === undefined) return undefined;
        return { ...(JSON.parse(json) as WarmingPlan), finishedAtMs: Number(seconds) * 1_000 };
      }),
    async replan(claim, plan) {
      const args = [claim.encodingId, claim.token, JSON.stringify(plan)];
      await claimed(claim, () => commands.ckvReplanWarming(key, claims, ...args));
    },
    async open(claim) {
      await reachingRedis(requireAllPartitions);
      return claimed(claim, () => commands.ckvOpenWarming(key, claims, ...everywhere, claim.encodingId, claim.token));
    },
    async send(claim, rows, from, last, digest = '') {
      if (rows.length > MAX_SENT_ROWS) throw new Error(`${rows.length} rows, at most ${MAX_SENT_ROWS}`);
      const rest = [from, from + rows.length, MAX_WAITING_ROWS, last ? 1 : 0, digest];
      const sends = partitions.map(async (partition) => {
        const own = rows.filter(({ userId }) => partitionOf(userId, partitionCount) === partition);
        const [code, count] = await sendTo(partition, claim, own, rest);
        if (code === -2) throw new CkvError('conflict', 'the encoding takes no rows of files in this phase');
        if (code === -3) throw new CkvError('conflict', 'another backfill of the encoding sends other files');
        if (code === 0 && count < from + rows.length) {
          throw new CkvError('conflict', `partition ${partition} has ${count} rows, and these begin at ${from}`);
        }
        return code === -1 ? [partition] : [];
      });
      return (await allDone(sends)).flat();
    },
    end: async (claim) => (await endIf(claim, 0)) === 1,
    finish: async (claim) => (await endIf(claim, 1)) === 1,
    newestJobs: () => inEach(async (queue) => (await client.lrange(`${queue}:wait`, 0, 0)) as JobsOf),
    jobsInHand: () =>
      inEach(async (queue) => {
        // In this order a job is seen, whether it is taken or put back meanwhile.
        const [before = [], active = [], after = []] = await Promise.all([
          client.lrange(`${queue}:wait`, -MOST_IN_HAND, -1),
          client.lrange(`${queue}:active`, 0, -1),
          client.lrange(`${queue}:wait`, -MOST_IN_HAND, -1),
        ]);
        return [...new Set([...before, ...active, ...after])];
      }),
    leftUpTo: (jobs) => inEach((queue, partition) => leftOf(queue, jobs[partition] ?? [])),
    loggedCounts: () =>
      reachingRedis(() => Promise.all(partitions.map((one) => client.xlen(eventLogKey(keyPrefix, one))))),
  };
}

/** Returns the time of an entry's id, Unix ms; 0 without an id. */
function msOf(id: string | undefined): number {
  return Number(id?.split('-')[0] ?? 0);
}
