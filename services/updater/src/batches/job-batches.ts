import type { Logger } from '@collectivekv/service-kit';
import { inSpansOfJobs, startsSpans } from '@collectivekv/tracing';
import {
  type InteractionProducer,
  type PartitionQueue,
  type Receipts,
  type TakenJob,
  traceparentOf,
} from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';
import type { Fence } from '../partitions/fence.js';
import type { RecordWriter } from '../records/record-writer.js';
import { planWaves } from './append-plan.js';
import { createApplyBatch, type PartitionWork, type PreparedBatch } from './apply-waves.js';
import { createErase } from './erase.js';
import type { LateCalls } from './late-calls.js';
import { createReadJobs } from './read-jobs.js';
import { createRetryWhileHeld } from './retry-while-held.js';
import { createSetAside } from './set-aside.js';

/** Jobs taken from one partition, oldest first. */
export interface TakenJobs {
  readonly queue: PartitionQueue;
  /** The fence that was held as the jobs were taken. */
  readonly fence: Fence;
  readonly jobs: readonly TakenJob[];
}

/**
 * Works on jobs in two steps: one batch can be taken and prepared while the previous batch is applied. Both steps throw
 * transient errors: lease lost, queue unreachable, shutdown. Jobs that are not settled by then must be taken again.
 */
export interface JobBatches {
  /** Reads jobs and encodes their interactions. Sets unreadable jobs aside and forwards jobs of other partitions. */
  prepare(taken: readonly TakenJobs[]): Promise<PreparedBatch>;
  /**
   * Settles the batch's jobs: their interactions are in their records, or set aside. Apply one batch at a time, in the
   * order in which the batches were taken.
   */
  apply(batch: PreparedBatch): Promise<void>;
}

/** Parts of {@link createJobBatches}. */
export interface JobBatchParts {
  readonly producer: Pick<InteractionProducer, 'forward'>;
  readonly partitionCount: number;
  readonly writer: RecordWriter;
  readonly receipts: Receipts;
  readonly lateCalls: LateCalls;
  readonly metrics: UpdaterMetrics;
  readonly log: Logger;
  /** Ends retries. */
  readonly signal: AbortSignal;
}

/**
 * Creates the batches. The interactions of all partitions are encoded together and appended wave by wave. If rows
 * depend on the history, each wave is encoded as it is appended, behind the rows of earlier waves. Transient errors are
 * retried in place, so that a user's interactions stay in order. A job that cannot succeed is set aside, without the
 * interactions of its other users.
 */
export function createJobBatches({
  producer,
  partitionCount,
  writer,
  receipts,
  lateCalls,
  metrics,
  log,
  signal,
}: JobBatchParts): JobBatches {
  const setAside = createSetAside({ receipts, metrics, log });
  const retryWhileHeld = createRetryWhileHeld({ metrics, log, signal });
  const erase = createErase({
    writer,
    receipts,
    partitionCount,
    retryWhileHeld,
    setAside,
    lateCalls,
    signal,
    metrics,
  });
  const readJobs = createReadJobs({ producer, partitionCount, setAside, metrics });

  const applyBatch = createApplyBatch({ writer, erase, retryWhileHeld, setAside, lateCalls, signal, metrics, log });

  return {
    prepare(taken) {
      const traceparents = startsSpans() ? traceparentsOf(taken) : [];
      return inSpansOfJobs('encode interactions', traceparents, () => prepare(taken, traceparents));
    },
    apply: (batch) => inSpansOfJobs('apply interactions', batch.traceparents, () => applyBatch(batch)),
  };

  async function prepare(taken: readonly TakenJobs[], traceparents: readonly string[]): Promise<PreparedBatch> {
    const works: PartitionWork[] = [];
    for (const { queue, fence, jobs } of taken) {
      works.push({ queue, fence, waves: planWaves(await readJobs(queue, jobs)) });
    }
    const waves = works.flatMap((work) => work.waves);
    const interactions = waves.flatMap((wave) => (wave.kind === 'append' ? [...wave.byUser.values()].flat() : []));
    metrics.batchInteractions.observe(interactions.length);
    const fences = works.map(({ fence }) => fence);
    const wants = (encodingId: string) => works.some(({ queue }) => !queue.warming.pending().has(encodingId));
    const encoded = await retryWhileHeld(fences, () => writer.encode(interactions, wants));
    metrics.unknown.inc({ kind: 'item' }, encoded.unknownItemCount);
    metrics.unknown.inc({ kind: 'action' }, encoded.unknownActionCount);
    return { works, encoded, traceparents };
  }
}

function traceparentsOf(taken: readonly TakenJobs[]): string[] {
  return taken.flatMap(({ jobs }) => jobs.map(({ payload }) => traceparentOf(payload))).filter(Boolean);
}
