// Protections of the write path, each with the lines that are taken out to see the model find the fault.

/** One protection. */
export interface Removal {
  /** Ends "without …". */
  readonly name: string;
  /** The file that has the protection. Of a package: its built file. */
  readonly file: string;
  /** The command of a script, if its name does not follow from the file's. */
  readonly command?: string;
  /** Text of the file, and what takes its place. */
  readonly from: string;
  readonly to: string;
}

const QUEUE_LUA = 'packages/update-queue/lua';
const STORE_LUA = 'packages/user-store/lua';
const UPDATER = 'services/updater/src';

/** Each name once. */
export const REMOVALS: readonly Removal[] = [
  {
    name: 'the term and the opening in a take',
    file: `${QUEUE_LUA}/take-jobs-13.lua`,
    from: 'if not holds_opening(KEYS[12], KEYS[13], ARGV[6], ARGV[7], ARGV[8], ARGV[3]) then return false end',
    to: '',
  },
  {
    name: 'the opening in a take',
    file: `${QUEUE_LUA}/take-jobs-13.lua`,
    from: 'if not holds_opening(KEYS[12], KEYS[13], ARGV[6], ARGV[7], ARGV[8], ARGV[3]) then return false end',
    to: 'if not holds_term(KEYS[12], KEYS[13], ARGV[6], ARGV[7], ARGV[8]) then return false end',
  },
  {
    name: 'the opening in a note of progress',
    file: `${QUEUE_LUA}/remember-progress-5.lua`,
    from: 'if not holds_opening(KEYS[4], KEYS[5], ARGV[3], ARGV[4], ARGV[5], ARGV[6]) then return false end',
    to: 'if not holds_term(KEYS[4], KEYS[5], ARGV[3], ARGV[4], ARGV[5]) then return false end',
  },
  {
    name: 'the term in a completion',
    file: `${QUEUE_LUA}/complete-jobs-16.lua`,
    from: 'if not holds_term(KEYS[15], KEYS[16], ARGV[10], ARGV[11], ARGV[12]) then return false end',
    to: '',
  },
  {
    name: 'the term in setting a job aside',
    file: `${QUEUE_LUA}/set-aside-job-16.lua`,
    from: 'if not holds_term(KEYS[15], KEYS[16], ARGV[10], ARGV[11], ARGV[12]) then return false end',
    to: '',
  },
  {
    name: 'the term in a recovery',
    file: `${QUEUE_LUA}/recover-jobs-4.lua`,
    from: 'if not holds_term(KEYS[3], KEYS[4], ARGV[2], ARGV[3], ARGV[4]) then return false end',
    to: '',
  },
  {
    name: 'the order in a recovery',
    file: `${QUEUE_LUA}/recover-jobs-4.lua`,
    from: "redis.call('RPUSH', KEYS[2], id)",
    to: "redis.call('LPUSH', KEYS[2], id)",
  },
  {
    name: 'a new term for each acquisition',
    file: `${QUEUE_LUA}/hold-leases-3.lua`,
    from: "redis.call('HINCRBY', KEYS[3], partition, 1)\n    held",
    to: 'held',
  },
  {
    name: 'the holder in a release',
    file: `${QUEUE_LUA}/release-leases-2.lua`,
    from: 'holder == ARGV[1] and (named_end_ms == 0',
    to: '(named_end_ms == 0',
  },
  {
    name: 'the end of the lease in a release',
    file: `${QUEUE_LUA}/release-leases-2.lua`,
    from: 'and (named_end_ms == 0 or ends_ms == named_end_ms)',
    to: '',
  },
  {
    name: 'the end of the fence in an append',
    file: `${STORE_LUA}/append-positions-2n.lua`,
    from: '> valid_until_ms then return false end',
    to: '> valid_until_ms then end',
  },
  {
    name: 'the end of the fence in a deletion',
    file: `${STORE_LUA}/swap-record-1.lua`,
    from: '> valid_until_ms then return false end',
    to: '> valid_until_ms then end',
  },
  {
    name: 'the end of the fence in the deletion of a user',
    file: `${STORE_LUA}/delete-user-2n.lua`,
    from: '> valid_until_ms then return false end',
    to: '> valid_until_ms then end',
  },
  {
    name: 'the ring in an append',
    file: `${STORE_LUA}/append-positions-2n.lua`,
    from: 'if seen[hash] then',
    to: 'if false then',
  },
  {
    name: 'the closing of partitions after a failure',
    file: `${UPDATER}/updater.ts`,
    from: 'await partitions.closeAll();\n        held = [];',
    to: '',
  },
  {
    name: 'the wait for late calls before an append',
    file: `${UPDATER}/batches/apply-waves.ts`,
    from: 'await lateCalls.beforeAppend(byUser, signal);',
    to: '',
  },
  {
    name: 'the note of a failed removal',
    file: `${UPDATER}/batches/erase.ts`,
    from: 'if (isTransient(toCkvError(thrown))) lateCalls.removalFailed(userId, fence.endedByMs());',
    to: '',
  },
  {
    name: 'the wait for late calls before a deletion',
    file: `${UPDATER}/batches/erase.ts`,
    from: "if (job.kind === 'delete') await lateCalls.beforeDeletion(userId, signal);",
    to: '',
  },
  {
    name: 'the receipt of an erasure that comes again',
    file: `${UPDATER}/batches/erase.ts`,
    from: "if (erasure && (await receipts.begin(erasure)).state === 'done') return false;",
    to: 'if (erasure) await receipts.begin(erasure);',
  },
  {
    name: 'the wait for late calls before a release',
    file: `${UPDATER}/partitions/held-partitions.ts`,
    from: 'if (released.length > 0) await latePassed();',
    to: '',
  },
  {
    name: 'the wait for late calls before a shutdown',
    file: `${UPDATER}/partitions/held-partitions.ts`,
    from: 'await closeAll();\n      await latePassed();',
    to: 'await closeAll();',
  },
  {
    name: 'the margin between the clocks',
    file: `${UPDATER}/partitions/fence.ts`,
    from: 'CLOCK_MARGIN_MS = 500',
    to: 'CLOCK_MARGIN_MS = 0',
  },
  {
    name: 'the progress of a job of many waves',
    file: `${UPDATER}/batches/apply-waves.ts`,
    from: 'if (wave.remember) await work.queue.remember(wave.remember.job.taken, wave.remember.progress);',
    to: '',
  },
  {
    name: 'the check of the term in known fences',
    file: `${UPDATER}/partitions/partition-leases.ts`,
    from: 'known?.term === term.term ? known : createFence(term)',
    to: 'known ?? createFence(term)',
  },
  {
    name: 'completion after forwarding',
    file: `${UPDATER}/batches/read-jobs.ts`,
    from: `await producer.forward(job, \`\${queue.partition} \${taken.id} \${taken.queuedAtMs}\`);
    await queue.complete([taken]);`,
    to: `await queue.complete([taken]);
    await producer.forward(job, \`\${queue.partition} \${taken.id} \${taken.queuedAtMs}\`);`,
  },
  {
    name: 'the work that remains of a job that is set aside',
    file: `${UPDATER}/batches/apply-waves.ts`,
    from: 'await setAside(queue, read.taken, refusal.error, recordJobData(refusal.interactions));',
    to: 'await queue.complete([read.taken]);',
  },
  {
    name: 'the memory of tries',
    file: `${QUEUE_LUA}/add-job-9.lua`,
    command: 'addStandardJob:6.7.0',
    from: "if redis.call('EXISTS', memory) == 1 then return id end",
    to: '',
  },
];

/** Returns the protection that this run is without; undefined for a run with all. */
export function chosenRemoval(): Removal | undefined {
  const name = process.env.CKV_MODEL_WITHOUT;
  if (name === undefined) return undefined;
  const removal = REMOVALS.find((one) => one.name === name);
  if (!removal) throw new Error(`CKV_MODEL_WITHOUT: no protection "${name}"`);
  return removal;
}

/** Takes a protection out of its file's text. */
export function without({ file, from, to }: Removal, text: string): string {
  if (!text.includes(from)) throw new Error(`${file} has no text "${from}"`);
  return text.replace(from, to);
}
