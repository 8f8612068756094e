// Protections of the write path, each with the change that takes it out, to see the model find the fault.

/** A change that takes one protection out. */
export interface Sabotage {
  /** Name of the protection. Ends "without …". */
  readonly name: string;
  /** The file that has the protection. */
  readonly file: string;
  /** The command of a script, if its name does not follow from the file's. */
  readonly command?: string;
  /** The known schedule that notices it. */
  readonly noticed: string;
  /** Text that occurs once in the file, and what takes its place. */
  readonly from: string;
  readonly to: string;
}

const QUEUE_LUA = 'packages/update-queue/lua';
const STORE_LUA = 'packages/user-store/lua';
const UPDATER = 'services/updater/src';

/** Each name once. */
export const SABOTAGES: readonly Sabotage[] = [
  {
    name: 'the term and the opening in a take',
    noticed: 'if ckvTakeJobs of a dead updater comes late, after its lease has ended',
    file: `${QUEUE_LUA}/take-jobs-13.lua`,
    from: 'if not holds_opening(KEYS[12], KEYS[13], ARGV[6], ARGV[7], ARGV[8], ARGV[3]) then return false end',
    to: '',
  },
  {
    name: 'the opening in a take',
    noticed: 'if a take comes late, from a former opening',
    file: `${QUEUE_LUA}/take-jobs-13.lua`,
    from: 'if not holds_opening(KEYS[12], KEYS[13], ARGV[6], ARGV[7], ARGV[8], ARGV[3]) then return false end',
    to: 'if not holds_term(KEYS[12], KEYS[13], ARGV[6], ARGV[7], ARGV[8]) then return false end',
  },
  {
    name: 'the opening in a note of progress',
    noticed: 'if a note of progress comes late, from a former opening',
    file: `${QUEUE_LUA}/remember-progress-5.lua`,
    from: 'if not holds_opening(KEYS[4], KEYS[5], ARGV[3], ARGV[4], ARGV[5], ARGV[6]) then return false end',
    to: 'if not holds_term(KEYS[4], KEYS[5], ARGV[3], ARGV[4], ARGV[5]) then return false end',
  },
  {
    name: 'the term in a completion',
    noticed: 'if ckvCompleteJobs of a dead updater comes late, after its lease has ended',
    file: `${QUEUE_LUA}/complete-jobs-16.lua`,
    from: 'if not holds_term(KEYS[15], KEYS[16], ARGV[10], ARGV[11], ARGV[12]) then return false end',
    to: '',
  },
  {
    name: 'the term in setting a job aside',
    noticed: 'if ckvSetAsideJob of a dead updater comes late, after its lease has ended',
    file: `${QUEUE_LUA}/set-aside-job-16.lua`,
    from: 'if not holds_term(KEYS[15], KEYS[16], ARGV[10], ARGV[11], ARGV[12]) then return false end',
    to: '',
  },
  {
    name: 'the term in a recovery',
    noticed: 'if a recovery of a dead updater comes late, after its lease has ended',
    file: `${QUEUE_LUA}/recover-jobs-4.lua`,
    from: 'if not holds_term(KEYS[3], KEYS[4], ARGV[2], ARGV[3], ARGV[4]) then return false end',
    to: '',
  },
  {
    name: 'the order in a recovery',
    noticed: 'if an updater dies before several jobs are applied',
    file: `${QUEUE_LUA}/recover-jobs-4.lua`,
    from: "redis.call('RPUSH', KEYS[2], id)",
    to: "redis.call('LPUSH', KEYS[2], id)",
  },
  {
    name: 'a new term for each acquisition',
    noticed: 'if an updater stalls before it tries an append again, and meanwhile another has the partition',
    file: `${QUEUE_LUA}/hold-leases-3.lua`,
    from: "redis.call('HINCRBY', KEYS[3], partition, 1)\n    held",
    to: 'held',
  },
  {
    name: 'the holder in a release',
    noticed: 'if an updater that lost its leases as it stalled shuts down, and the next holder has an append under way',
    file: `${QUEUE_LUA}/release-leases-2.lua`,
    from: 'holder == ARGV[1] and (named_end_ms == 0',
    to: '(named_end_ms == 0',
  },
  {
    name: 'the end of the lease in a release',
    noticed: 'if a release comes late, after its updater renewed the lease and has an append under way',
    file: `${QUEUE_LUA}/release-leases-2.lua`,
    from: 'and (named_end_ms == 0 or ends_ms == named_end_ms)',
    to: '',
  },
  {
    name: 'the end of the fence in an append',
    noticed: 'if a late append arrives after its fence has ended',
    file: `${STORE_LUA}/append-positions-2n.lua`,
    from: '> valid_until_ms then return false end',
    to: '> valid_until_ms then end',
  },
  {
    name: 'the end of the fence in a deletion',
    noticed: 'if DeletePosition of a dead updater comes late, to the next holder',
    file: `${STORE_LUA}/swap-record-1.lua`,
    from: '> valid_until_ms then return false end',
    to: '> valid_until_ms then end',
  },
  {
    name: 'the end of the fence in the deletion of a user',
    noticed: 'if DeleteRecord of a dead updater comes late, to the next holder',
    file: `${STORE_LUA}/delete-user-2n.lua`,
    from: '> valid_until_ms then return false end',
    to: '> valid_until_ms then end',
  },
  {
    name: 'the ring in an append',
    noticed: 'if an updater dies before its job of many waves is completed',
    file: `${STORE_LUA}/append-positions-2n.lua`,
    from: 'if seen[hash] then',
    to: 'if false then',
  },
  {
    name: 'the closing of partitions after a failure',
    noticed: 'if a note of progress comes late, from a former opening',
    file: `${UPDATER}/updater.ts`,
    from: 'await partitions.closeAll();\n        held = [];',
    to: '',
  },
  {
    name: 'the wait for late calls before an append',
    noticed: 'if a late append arrives before its fence has ended',
    file: `${UPDATER}/batches/apply-waves.ts`,
    from: 'await lateCalls.beforeAppend(byUser, signal);',
    to: '',
  },
  {
    name: 'the note of a failed removal',
    noticed: 'if a deletion comes late, behind newer events',
    file: `${UPDATER}/batches/erase.ts`,
    from: 'if (isTransient(toCkvError(thrown))) lateCalls.removalFailed(userId, fence.endedByMs());',
    to: '',
  },
  {
    name: 'the wait for late calls before a deletion',
    noticed: 'if a late append would bring a deleted user back',
    file: `${UPDATER}/batches/erase.ts`,
    from: "if (job.kind === 'delete') await lateCalls.beforeDeletion(userId, signal);",
    to: '',
  },
  {
    name: 'the receipt of an erasure that comes again',
    noticed: 'if the call that deletes a user reaches the queue once more, behind newer events',
    file: `${UPDATER}/batches/erase.ts`,
    from: "if (erasure && (await receipts.begin(erasure)).state === 'done') return false;",
    to: 'if (erasure) await receipts.begin(erasure);',
  },
  {
    name: 'the wait for late calls before a release',
    noticed: 'if an updater with a late append gives a partition back to one that joins',
    file: `${UPDATER}/partitions/held-partitions.ts`,
    from: 'if (released.length > 0) await latePassed();',
    to: '',
  },
  {
    name: 'the wait for late calls before a shutdown',
    noticed: 'if an updater with a late append shuts down, and another takes its partitions at once',
    file: `${UPDATER}/partitions/held-partitions.ts`,
    from: 'await closeAll();\n      await latePassed();',
    to: 'await closeAll();',
  },
  {
    name: 'the margin between the clocks',
    noticed: "if an updater dies with an append under way, and the clock of the records' Redis is behind",
    file: `${UPDATER}/partitions/fence.ts`,
    from: 'endsMs - CLOCK_MARGIN_MS',
    to: 'endsMs',
  },
  {
    name: 'the progress of a job of many waves',
    noticed: 'if an updater dies before its job of many waves is completed',
    file: `${UPDATER}/batches/apply-waves.ts`,
    from: 'if (wave.remember) await work.queue.remember(wave.remember.job.taken, wave.remember.progress);',
    to: '',
  },
  {
    name: 'the check of the term in known fences',
    noticed: 'if an updater stalls before it tries an append again, and meanwhile another has the partition',
    file: `${UPDATER}/partitions/partition-leases.ts`,
    from: 'known?.term === term.term ? known : createFence(term)',
    to: 'known ?? createFence(term)',
  },
  {
    name: 'completion after forwarding',
    noticed: 'if an updater dies as it forwards a job',
    file: `${UPDATER}/batches/read-jobs.ts`,
    from: `await producer.forward(job, origin, traceparentOf(taken.payload));
    await queue.complete([taken]);`,
    to: `await queue.complete([taken]);
    await producer.forward(job, origin, traceparentOf(taken.payload));`,
  },
  {
    name: 'the work that remains of a job that is set aside',
    noticed: "if one of a job's users is refused",
    file: `${UPDATER}/batches/apply-waves.ts`,
    from: 'await setAside(queue, read.taken, refusal.error, recordJobData(refusal.interactions));',
    to: 'await queue.complete([read.taken]);',
  },
  {
    name: 'the memory of tries',
    noticed: 'if a call that records reaches the queue once more, behind newer events',
    file: `${QUEUE_LUA}/add-job-9.lua`,
    command: 'addStandardJob:6.7.0',
    from: "known = known or redis.call('HEXISTS', memory(n), field) == 1",
    to: '',
  },
  {
    name: 'the memory of a call whose job was set aside',
    noticed: 'if a call whose job was set aside reaches the queue once more, after one of its users was deleted',
    file: `${QUEUE_LUA}/set-aside-job-16.lua`,
    from: "redis.call('ZADD', failed_key, failed_at, aside_id)",
    to: "redis.call('ZADD', failed_key, failed_at, aside_id)\nredis.call('DEL', prefix .. 'added-1')",
  },
];

/** Returns the sabotage of this run; undefined for a run with all protections. */
export function chosenSabotage(): Sabotage | undefined {
  const name = process.env.CKV_MODEL_WITHOUT;
  if (name === undefined) return undefined;
  const sabotage = SABOTAGES.find((one) => one.name === name);
  if (!sabotage) throw new Error(`CKV_MODEL_WITHOUT: no protection "${name}"`);
  return sabotage;
}

/**
 * Takes a protection out of its file's text.
 * @throws Error if the text does not have the protection once
 */
export function without({ file, from, to }: Sabotage, text: string): string {
  if (text.split(from).length !== 2) throw new Error(`${file} does not have this text once: ${from}`);
  return text.replace(from, () => to);
}

/** Takes a protection out of a script, if it is the protection's one. */
export function scriptWithout(sabotage: Sabotage | undefined, command: string, lua: string): string {
  if (!sabotage?.file.endsWith('.lua') || command !== (sabotage.command ?? commandOf(sabotage.file))) return lua;
  return without(sabotage, lua);
}

/** Returns the command of a script: `ckvTakeJobs` of `lua/take-jobs-13.lua`. */
function commandOf(file: string): string {
  const words = file.replace(/^.*\//, '').split('-').slice(0, -1);
  return `ckv${words.map((word) => word[0]?.toUpperCase() + word.slice(1)).join('')}`;
}
