import { createSection, type Section } from './figure.js';
import type { PlanInput } from './plan-input.js';
import type { QueuePlan } from './queue-plan.js';
import type { RecordPlan } from './record-plan.js';
import type { ServiceCosts } from './service-costs.js';

/** The Redis servers of records and queue. */
export interface RedisPlan {
  readonly section: Section;
  readonly warnings: readonly string[];
}

const GIB = 2 ** 30;
/** What the allocator holds beyond what it gave out. Records that grow leave gaps of their former sizes. */
const FRAGMENTATION = 1.15;
/** How fast a child of Redis writes its copy of the data: a file for a replica, or a rewritten append-only file. */
const SAVE_BYTES_PER_S = 100_000_000;
const PAGE_BYTES = 4_096;
/** Pages that an append changes beside those of the new record: of its entry, its expiry, its key. */
const OTHER_PAGES = 3;
/** Buffers of replication and clients of a server. */
const BUFFER_BYTES = 256 * 2 ** 20;
/** Redis Cluster is not made for more nodes. */
const MAX_PRIMARIES = 500;

/** Computes how many Redis servers the records take, and what memory the queue's server needs. */
export function planRedis(
  input: PlanInput,
  { records, queue }: { readonly records: RecordPlan; readonly queue: QueuePlan },
  costs: ServiceCosts | undefined,
): RedisPlan {
  const { serverBytes, redisReplicas, utilisation, ratePerS, ranksPerS, encodings } = input;
  const { section, computed, assumed, measured } = createSection('Redis servers', 'redis');
  const warnings: string[] = [];
  const dataBytes = encodings * records.totalBytes;
  const appendsPerS = encodings * ratePerS;
  const appendBytes = (Math.ceil(records.usedBytes / PAGE_BYTES) + OTHER_PAGES) * PAGE_BYTES;

  /** Returns the pages that a child's copy keeps alive, of one of `count` primaries. */
  const copiedBytes = (count: number, data: number, writtenPerS: number) =>
    Math.min(data / count, (writtenPerS / count) * (data / count / SAVE_BYTES_PER_S));
  const needed = (count: number) =>
    (FRAGMENTATION * dataBytes) / count + copiedBytes(count, dataBytes, appendsPerS * appendBytes) + BUFFER_BYTES;

  assumed('fragmentation', 'memory beyond what is allocated', FRAGMENTATION, 'times', 'fragmentation of the heap');
  assumed(
    'saveBytesPerS',
    'writing of a copy, while a child shares the memory',
    SAVE_BYTES_PER_S,
    'bytes/s',
    'a disk or network of 1 Gb/s',
  );
  assumed('bufferBytes', 'buffers of a server', BUFFER_BYTES, 'bytes', 'of replication and clients');
  const byMemory = smallestCount(needed, serverBytes);
  let byLoad = 1;
  if (costs) {
    const { machine, rank, interaction } = costs;
    measured('rankMs', 'records: processor time of a rank request', rank.recordsRedisMs, 'ms', machine);
    measured('appendMs', 'records: processor time of an interaction', interaction.recordsRedisMs, 'ms', machine);
    const cores = (ranksPerS * rank.recordsRedisMs + appendsPerS * interaction.recordsRedisMs) / 1_000;
    computed('recordCores', 'records: processor time', cores, 'cores', 'at the planned load');
    byLoad = Math.max(1, Math.ceil(cores / utilisation));
  }
  const primaries = Math.max(byMemory ?? MAX_PRIMARIES, byLoad);
  const reason = byLoad > (byMemory ?? 0) ? 'for the load; Redis runs commands on one core' : 'for the memory';
  computed('primaries', 'records: primaries', primaries, 'count', `${reason}${primaries > 1 ? '; a cluster' : ''}`);
  computed(
    'servers',
    'records: servers',
    primaries * (1 + redisReplicas),
    'count',
    `each primary with its copies: ${redisReplicas}`,
  );
  const maxmemory = (FRAGMENTATION * dataBytes) / primaries;
  const copied = copiedBytes(primaries, dataBytes, appendsPerS * appendBytes);
  computed(
    'dataBytes',
    'records: memory of a primary',
    maxmemory,
    'bytes',
    `${encodings} encodings, with fragmentation`,
  );
  computed(
    'forkBytes',
    'records: copied pages of a primary',
    copied,
    'bytes',
    'what appends change while a child saves',
  );
  computed(
    'serverBytes',
    'records: memory of a machine, at least',
    needed(primaries),
    'bytes',
    'data, copied pages, buffers',
  );
  if (byMemory === undefined || primaries > MAX_PRIMARIES) {
    warnings.push(
      `the records need more than ${MAX_PRIMARIES} primaries of ${Math.round(serverBytes / GIB)} GiB; give larger machines (--server-memory), or divide the users among deployments`,
    );
  }

  const queueCopied = copiedBytes(1, queue.totalBytes, queue.jobsPerS * 2 * PAGE_BYTES);
  const queueBytes = FRAGMENTATION * queue.totalBytes + queueCopied + BUFFER_BYTES;
  if (costs) {
    const { queueRedisMs } = costs.interaction;
    measured('queueMs', 'queue: processor time of an interaction', queueRedisMs, 'ms', costs.machine);
    const cores = computed(
      'queueCores',
      'queue: processor time',
      (ratePerS * queueRedisMs) / 1_000,
      'cores',
      'at the planned load',
    );
    if (cores > utilisation) {
      warnings.push(
        `the queue needs ${cores.toFixed(1)} cores of Redis, and all its partitions are on one server, which has one: send more interactions in a call (--per-call), or divide the users among queues (CKV_KEY_PREFIX)`,
      );
    }
  }
  computed(
    'queueBytes',
    'queue: memory of the machine, at least',
    queueBytes,
    'bytes',
    'its keys, copied pages, buffers; one primary',
  );
  if (queueBytes > serverBytes) {
    warnings.push(
      `the queue does not fit a machine of ${Math.round(serverBytes / GIB)} GiB: plan a shorter lag (--lag), or a larger machine`,
    );
  }
  return { section, warnings };
}

/** Returns the smallest number of primaries whose machines have this memory; undefined beyond all bounds. */
function smallestCount(needed: (count: number) => number, serverBytes: number): number | undefined {
  let high = 1;
  while (needed(high) > serverBytes) {
    high *= 2;
    if (high > 2 ** 40) return undefined;
  }
  let low = Math.floor(high / 2);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (needed(middle) > serverBytes) low = middle;
    else high = middle;
  }
  return high;
}
