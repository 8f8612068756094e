import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { RedisClient } from '@collectivekv/redis-connection';
import type { KeepJobs, MinimalJob, Worker } from 'bullmq';

/** A job as BullMQ keeps it. */
export interface StoredJob {
  readonly id: string;
  /** Its hash; anybody may have written it. */
  readonly fields: Readonly<Record<string, string>>;
}

/** What a job's own options say is to become of it when it is done. */
export type KeepWhenDone = boolean | number | KeepJobs | undefined;

/** BullMQ's scripts, each for many jobs in one call; docs/adr/0006-jobs-in-batches.md has the reason. */
export interface JobScripts {
  /**
   * Makes the next jobs active and locks them.
   * @returns them, in order, and why the last one failed that did: such a job is active, and not among them
   */
  take(maxCount: number): Promise<{ readonly jobs: readonly StoredJob[]; readonly failure: string }>;
  /** Completes jobs that keep the same. Returns why, for every job that could not be completed. */
  complete(ids: readonly string[], keep: KeepWhenDone): Promise<ReadonlyMap<string, string>>;
}

/** A script as BullMQ ships it, includes and all; its file's name ends with its number of keys. */
interface ShippedScript {
  readonly name: string;
  readonly content: string;
  readonly keys: number;
}

interface Commands {
  ckvTakeJobs(...args: unknown[]): Promise<[jobs: [id: string, fields: string[]][], failure: string]>;
  ckvCompleteJobs(...args: unknown[]): Promise<[id: string, problem: string | number][]>;
}

const shipped = createRequire(import.meta.url);
const { moveToActive } = shipped('bullmq/dist/cjs/scripts/moveToActive-11.js') as Record<string, ShippedScript>;
const { moveToFinished } = shipped('bullmq/dist/cjs/scripts/moveToFinished-14.js') as Record<string, ShippedScript>;
const TAKE = around(moveToActive, 'take-jobs-11.lua');
const COMPLETE = around(moveToFinished, 'complete-jobs-14.lua');

/** Creates the scripts of the queue that `worker` consumes; locks are taken under `token` for `lockMs`. */
export function createJobScripts(
  client: RedisClient,
  worker: Worker,
  { token, lockMs }: { readonly token: string; readonly lockMs: number },
): JobScripts {
  client.defineCommand('ckvTakeJobs', TAKE);
  client.defineCommand('ckvCompleteJobs', COMPLETE);
  const commands = client as unknown as Commands;
  const { backend } = worker;
  const { keys } = backend;
  const takeKeys = [keys.wait, keys.active, keys.prioritized, keys.events, keys.stalled, keys.limiter];
  takeKeys.push(keys.delayed, keys.paused, keys.meta, keys.pc, keys.marker);

  return {
    async take(maxCount) {
      const args = [keys[''], Date.now(), token, lockMs, maxCount];
      const [jobs, failure] = await commands.ckvTakeJobs(...takeKeys, ...args);
      return { jobs: jobs.map(([id, flat]) => ({ id, fields: fieldsOf(flat) })), failure };
    },
    async complete(ids, keep) {
      const first = { id: ids[0], opts: {} } as MinimalJob;
      const args = backend.moveToCompletedArgs(first, undefined, keep as KeepJobs, token, false);
      const failures = await commands.ckvCompleteJobs(...args, ...ids);
      return new Map(failures.map(([id, problem]) => [id, String(problem)]));
    },
  };
}

/** Our script around BullMQ's. */
function around(script: ShippedScript | undefined, file: string): { lua: string; numberOfKeys: number } {
  if (!script) throw new Error(`BullMQ ships no script for ${file}`);
  const lua = readFileSync(new URL(`../lua/${file}`, import.meta.url), 'utf8');
  return { lua: lua.replace(`-- include ${script.name}`, () => script.content), numberOfKeys: script.keys };
}

function fieldsOf(flat: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) fields[flat[i] ?? ''] = flat[i + 1] ?? '';
  return fields;
}
