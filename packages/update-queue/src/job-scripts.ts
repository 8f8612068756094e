import { CkvError } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';
import type { KeepJobs, MinimalJob, Worker } from 'bullmq';
import type { KeepWhenDone } from './job-options.js';
import type { PartitionTerm } from './lease-table.js';
import { readScript } from './lua-script.js';
import type { LeaseKeys } from './queue-names.js';

/** A job as BullMQ keeps it. */
export interface StoredJob {
  readonly id: string;
  /** Fields of the job's hash; anybody may have written them. */
  readonly fields: Readonly<Record<string, string>>;
}

/**
 * The writes of a partition's consumer, each one script around BullMQ's own; docs/adr/0006-jobs-in-batches.md has the
 * reason. Redis checks the consumer's term inside each script; every method throws conflict if the term is over. `take`
 * and `remember` also throw it after a later opening called `recover`. BullMQ's lock refuses late settling.
 */
export interface JobScripts {
  /** Begins the opening: refuses former ones from now on, and puts the active jobs back to the front, in order. */
  recover(): Promise<void>;
  /**
   * Makes the next jobs active and locks them.
   * @returns the taken jobs in queue order, and the last failure's text. A failed job stays active and is not returned.
   */
  take(maxCount: number): Promise<{ readonly jobs: readonly StoredJob[]; readonly failure: string }>;
  /** Completes jobs that have the same option. Returns BullMQ's error code of every job that could not be completed. */
  complete(ids: readonly string[], keep: KeepWhenDone): Promise<ReadonlyMap<string, number>>;
  /**
   * Sets an active job aside under another id.
   * @param keep the job's own option
   * @param fields fields of the job's hash to overwrite
   */
  setAside(
    id: string,
    keep: KeepWhenDone,
    aside: { readonly id: string; readonly reason: string; readonly fields: Readonly<Record<string, string>> },
  ): Promise<void>;
  /** Keeps a number with a job. */
  remember(id: string, progress: number): Promise<void>;
}

/** Options of {@link createJobScripts}. */
export interface JobScriptOptions {
  /** Token of the opening and of its jobs' locks. */
  readonly token: string;
  readonly lockMs: number;
  readonly term: PartitionTerm;
  readonly leaseKeys: LeaseKeys;
}

type Arg = string | number | boolean | Buffer | undefined;

/** The scripts as commands of a client; each answers null if the term or the opening is over. */
interface Commands {
  ckvRecoverJobs(...args: Arg[]): Promise<number | null>;
  ckvTakeJobs(...args: Arg[]): Promise<[jobs: [id: string, fields: string[]][], failure: string] | null>;
  ckvCompleteJobs(...args: Arg[]): Promise<[id: string, code: number][] | null>;
  ckvSetAsideJob(...args: Arg[]): Promise<number | null>;
  ckvRememberProgress(...args: Arg[]): Promise<number | null>;
}

const SCRIPTS = {
  ckvRecoverJobs: readScript('recover-jobs-4.lua'),
  ckvTakeJobs: readScript('take-jobs-13.lua', ['moveToActive-11']),
  ckvCompleteJobs: readScript('complete-jobs-16.lua', ['moveToFinished-14']),
  ckvSetAsideJob: readScript('set-aside-job-16.lua', ['moveToFinished-14']),
  ckvRememberProgress: readScript('remember-progress-5.lua', ['updateProgress-3']),
} as const satisfies Record<keyof Commands, unknown>;

/** Keys among the arguments of BullMQ's moveToFinished. */
const FINISHED_KEYS = 14;

/** Creates the scripts of the queue that `worker` consumes. */
export function createJobScripts(
  client: RedisClient,
  worker: Worker,
  { token, lockMs, term, leaseKeys }: JobScriptOptions,
): JobScripts {
  for (const [name, script] of Object.entries(SCRIPTS)) client.defineCommand(name, script);
  const commands = client as unknown as Commands;
  const { backend } = worker;
  const { keys } = backend;
  const takeKeys = [keys.wait, keys.active, keys.prioritized, keys.events, keys.stalled, keys.limiter];
  takeKeys.push(keys.delayed, keys.paused, keys.meta, keys.pc, keys.marker);
  const termKeys = [leaseKeys.leases, leaseKeys.terms];
  const termArgs = [term.partition, term.member, term.term];

  /** Returns a script's answer, or throws conflict if the script refused the term or the opening. */
  async function inTerm<T>(answer: Promise<T | null>): Promise<T> {
    const given = await answer;
    if (given === null) throw new OpeningOver(term);
    return given;
  }

  /** moveToFinished's keys and arguments, followed by the keys and the arguments of the term. */
  function finishedArgs(args: readonly Arg[]): Arg[] {
    return [...args.slice(0, FINISHED_KEYS), ...termKeys, ...args.slice(FINISHED_KEYS), ...termArgs];
  }

  return {
    async recover() {
      await inTerm(commands.ckvRecoverJobs(keys.active, keys.wait, ...termKeys, keys[''], ...termArgs, token));
    },
    async take(maxCount) {
      const args = [keys[''], Date.now(), token, lockMs, maxCount, ...termArgs];
      const [jobs, failure] = await inTerm(commands.ckvTakeJobs(...takeKeys, ...termKeys, ...args));
      return { jobs: jobs.map(([id, flat]) => ({ id, fields: fieldsOf(flat) })), failure };
    },
    async complete(ids, keep) {
      const first = { id: ids[0], opts: {} } as MinimalJob;
      const args = backend.moveToCompletedArgs(first, undefined, keep as KeepJobs, token, false);
      const failures = await inTerm(commands.ckvCompleteJobs(...finishedArgs(args), ...ids));
      return new Map(failures);
    },
    async setAside(id, keep, { id: asideId, reason, fields }) {
      const own = { failedReason: reason, stacktrace: JSON.stringify([reason]) };
      const job = { id, opts: { attempts: 0 } } as MinimalJob; // BullMQ's script needs a number of attempts
      const args = backend.moveToFailedArgs(job, reason, keep as KeepJobs, token, false, own);
      const overwritten = Object.entries(fields).flat();
      const code = await inTerm(commands.ckvSetAsideJob(...finishedArgs(args), asideId, ...overwritten));
      if (code !== 0) throw new Error(`job ${id} cannot be set aside: ${code}`);
    },
    async remember(id, progress) {
      const updateKeys = [worker.toKey(id), keys.events, keys.meta, ...termKeys];
      const code = await inTerm(commands.ckvRememberProgress(...updateKeys, id, progress, ...termArgs, token));
      if (code !== 0) throw new Error(`job ${id} is gone`);
    },
  };
}

/**
 * Redis refused a write of a former opening of the partition. The partition's jobs are not at fault. But no write of
 * this opening is taken any more, so only opening the partition once more helps.
 */
export class OpeningOver extends CkvError {
  constructor({ partition, term }: PartitionTerm) {
    super('conflict', `partition ${partition}: term ${term} is over, or the partition was opened again`);
  }
}

function fieldsOf(flat: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) fields[flat[i] ?? ''] = flat[i + 1] ?? '';
  return fields;
}
