import type { Count } from './oracle/verdict.js';

/** A protection, and the edit that takes it out. */
export interface Sabotage {
  readonly name: string;
  /** What the product does, in a few words. */
  readonly protection: string;
  /** Built file or Lua script, from the repository's root. */
  readonly file: string;
  /** Text that occurs once in the file. */
  readonly from: string;
  readonly to: string;
  readonly scenario: string;
  /** Only the faults whose name has this text. */
  readonly fault: string;
  /** Counts that show the missing protection. */
  readonly shows: readonly Count[];
}

/** Protections, each with a scenario that fails without it. */
export const SABOTAGES: readonly Sabotage[] = [
  {
    name: 'lease-in-take',
    protection: 'the script that takes jobs checks the lease and the opening',
    file: 'packages/update-queue/lua/take-jobs-13.lua',
    from: 'if not holds_opening(KEYS[12], KEYS[13], ARGV[6], ARGV[7], ARGV[8], ARGV[3]) then return false end',
    to: '',
    scenario: 'leases',
    fault: 'updater',
    shows: ['outOfOrder', 'duplicated', 'stuck'],
  },
  {
    name: 'fence-in-append',
    protection: "the script that appends compares the fence with Redis's clock",
    file: 'packages/user-store/lua/append-positions-2n.lua',
    from: 'if valid_until_ms ~= 0 then',
    to: 'if false then',
    scenario: 'late-writes',
    fault: 'user-cache',
    shows: ['duplicated', 'outOfOrder'],
  },
  {
    name: 'ring',
    protection: 'the script that appends skips events that the ring knows',
    file: 'packages/user-store/lua/append-positions-2n.lua',
    from: 'if seen[hash] then',
    to: 'if false then',
    scenario: 'kills',
    fault: 'kill -9 of updater',
    shows: ['duplicated'],
  },
  {
    name: 'late-calls',
    protection: 'no more events of a user follow a late call than the ring holds',
    file: 'services/updater/dist/batches/late-calls.js',
    from: 'if (lateByUser.size === 0)',
    to: 'if (true)',
    scenario: 'late-writes',
    fault: 'user-cache',
    shows: ['duplicated'],
  },
  {
    name: 'remembered-try',
    protection: 'the queue remembers every Record call for a minute',
    file: 'packages/update-queue/lua/add-job-9.lua',
    from: "if redis.call('EXISTS', memory) == 1 then return id end",
    to: '',
    scenario: 'late-writes',
    fault: 'updater',
    shows: ['duplicated'],
  },
  {
    name: 'recover-order',
    protection: 'jobs of a former consumer go back to the front, in order',
    file: 'packages/update-queue/lua/recover-jobs-4.lua',
    from: "redis.call('RPUSH', KEYS[2], id)",
    to: "redis.call('LPUSH', KEYS[2], id)",
    scenario: 'leases',
    fault: 'Redis',
    shows: ['outOfOrder'],
  },
  {
    name: 'sweep-of-active',
    protection: 'opening a partition puts its active jobs back',
    file: 'packages/update-queue/lua/recover-jobs-4.lua',
    from: "local ids = redis.call('LRANGE', KEYS[1], 0, -1)",
    to: 'local ids = {}',
    scenario: 'kills',
    fault: 'kill -9 of updater',
    shows: ['lost', 'stuck'],
  },
  {
    name: 'retry-in-place',
    protection: 'transient errors are retried in place',
    file: 'services/updater/dist/batches/retry-while-held.js',
    from: 'return TRANSIENT.has(reason);',
    to: 'return false;',
    scenario: 'kills',
    fault: 'kill -9 of user-cache',
    shows: ['stuck', 'lost'],
  },
  {
    name: 'progress',
    protection: 'a large job remembers how many of its waves are done',
    file: 'packages/update-queue/lua/remember-progress-5.lua',
    from: 'return update_progress(KEYS, ARGV)',
    to: 'return 0',
    scenario: 'jobs',
    fault: '1,018',
    shows: ['duplicated'],
  },
  {
    name: 'forwarded-once',
    protection: 'a job that two updaters forward is queued once',
    file: 'packages/update-queue/dist/producer.js',
    from: '? addInteractions(job.interactions, origin, false)',
    to: '? addInteractions(job.interactions, String(Math.random()), false)',
    scenario: 'jobs',
    fault: 'wrong partition',
    shows: ['duplicated'],
  },
  {
    name: 'sdk-retry',
    protection: 'the SDK tries again after a transient error',
    file: 'packages/client/dist/retry.js',
    from: "const transient = early || REASONS[error.reason].retry === 'backoff';",
    to: 'const transient = false;',
    scenario: 'kills',
    fault: 'kill -9 of ranking',
    shows: ['failedRequests'],
  },
  {
    name: 'early-end',
    protection: 'a try of the SDK ends early, and another replica gets the request',
    file: 'packages/client/dist/retry.js',
    from: 'const whole = attempt >=',
    to: 'const whole = true || attempt >=',
    scenario: 'stops',
    fault: 'SIGSTOP of ranking',
    shows: ['failedRequests'],
  },
  {
    name: 'pool-wait',
    protection: 'waiting for pool rows takes half of the time left',
    file: 'services/ranking/dist/attention/attend.js',
    from: 'const deadlineMs = halfTimeLeft(limits.deadlineMs);',
    to: 'const { deadlineMs } = limits;',
    scenario: 'stops',
    fault: 'SIGSTOP of pool',
    shows: ['failedRequests'],
  },
  {
    name: 'near-cache-bound',
    protection: 'a copy of the near cache is used for max_staleness_ms at most',
    file: 'services/ranking/dist/records/record-source.js',
    from: 'ageMs <= Math.min(maxStalenessMs, nearCacheMaxAgeMs)',
    to: 'true',
    scenario: 'kills',
    fault: 'kill -9 of pool',
    shows: ['wrongScores'],
  },
];
