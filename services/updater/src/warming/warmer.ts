import { allDone, CkvError, type Interaction, toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import type { WarmingBatch, WarmingWave } from '@collectivekv/update-queue';
import { planWaves, type ReadJob } from '../batches/append-plan.js';
import { createApplyBatch, type PartitionWork } from '../batches/apply-waves.js';
import type { LateCalls } from '../batches/late-calls.js';
import { isTransient, type RetryWhileHeld } from '../batches/retry-while-held.js';
import type { UpdaterMetrics } from '../metrics.js';
import type { HeldPartition } from '../partitions/held-partitions.js';
import type { RecordWriter } from '../records/record-writer.js';

/**
 * Builds the records of encodings that are being warmed, step by step between batches of live jobs. A step is a batch
 * itself: rows of files, or entries of the event log, of all held partitions and one encoding.
 */
export interface Warmer {
  /** Returns the time until the next step, ms; 0 if it is due, infinite if nothing is being warmed in `held`. */
  dueInMs(held: readonly HeldPartition[]): number;
  /**
   * Makes one step. Call it with no batch in hand.
   * @param busy true while live jobs wait: the steps then take at most a third of the time. If the event log grows
   * nevertheless, they take more, up to four fifths, until it has been applied
   * @throws transient errors; what is not noted as done is applied again
   */
  step(held: readonly HeldPartition[], busy: boolean): Promise<void>;
}

/** Parts of {@link createWarmer}. */
export interface WarmerParts {
  readonly writer: Pick<RecordWriter, 'append' | 'encode' | 'knows'>;
  readonly retryWhileHeld: RetryWhileHeld;
  readonly lateCalls: LateCalls;
  /** Ends waits. */
  readonly signal: AbortSignal;
  /** Most interactions a second. */
  readonly ratePerS: number;
  readonly metrics: Pick<
    UpdaterMetrics,
    'warmingPartitions' | 'warmingLagSeconds' | 'warmedInteractions' | 'warmingBatches' | 'warmedSeconds'
  >;
  readonly log: Logger;
}

/** Fewest and most interactions of a step, of all partitions. */
const STEP_INTERACTIONS = [64, 2_048] as const;
/** A step that takes longer makes the next one smaller, so that live jobs do not wait for it. */
const STEP_MS = 100;
/** Pause after a step that failed for the encoding alone. */
const FAILED_MS = 2_000;
/** Pause after a step that found nothing. */
const IDLE_MS = 250;
/** An encoding without a bundle is worth a warning after this time: the bundle may be on its way. */
const UNKNOWN_MS = 60_000;
/**
 * While live jobs wait, a step is followed by a pause of this many times its length: the second number while the event
 * log grows in spite of the steps.
 */
const BUSY_PAUSE = [2, 0.25] as const;

/** One partition's next batch of an encoding. */
interface Found {
  readonly partition: HeldPartition;
  readonly batch: WarmingBatch;
  /** True if the stream had no more. */
  readonly isAll: boolean;
}

/** Creates a warmer. */
export function createWarmer(parts: WarmerParts): Warmer {
  const { writer, retryWhileHeld, lateCalls, signal, ratePerS, metrics, log } = parts;
  const apply = createApplyBatch({
    writer,
    erase: async () => undefined, // no erasure is in a stream
    retryWhileHeld,
    // The user's record cannot be written. The rest of the wave is done.
    setAside: async (queue, taken, { reason }) => {
      log.warn({ partition: queue.partition, reason }, 'interactions for a record that is being built are refused');
      metrics.warmingBatches.inc({ outcome: 'failed' });
      await queue.complete([taken]);
    },
    lateCalls,
    signal,
    metrics: {
      interactions: metrics.warmedInteractions,
      jobs: metrics.warmingBatches,
      servableSeconds: metrics.warmedSeconds,
    },
    log,
  });
  let nextMs = 0;
  let turn = 0;
  let size: number = STEP_INTERACTIONS[0];
  let busyPause: number = BUSY_PAUSE[0];
  /** How far the event log was behind as the latest step began, ms. */
  let logLagMs = Number.POSITIVE_INFINITY;
  /** Since when no loaded bundle has an encoding, ms; infinite after the warning. */
  const unknownSinceMs = new Map<string, number>();

  /** Returns the encodings that this process can build records of. Warns of one that stays unknown, once. */
  function buildable(held: readonly HeldPartition[]): string[] {
    const pending = [...new Set(held.flatMap(({ queue }) => [...queue.warming.pending()]))].sort();
    return pending.filter((encodingId) => {
      if (writer.knows(encodingId)) return unknownSinceMs.delete(encodingId) || true;
      const nowMs = performance.now();
      const sinceMs = unknownSinceMs.get(encodingId) ?? nowMs;
      const isLong = nowMs - sinceMs >= UNKNOWN_MS;
      if (isLong) log.warn({ encodingId }, 'no loaded bundle has the encoding that is being warmed');
      unknownSinceMs.set(encodingId, isLong ? Number.POSITIVE_INFINITY : sinceMs);
      return false;
    });
  }

  async function read(held: readonly HeldPartition[], encodingId: string): Promise<Found[]> {
    const concerned = held.filter(({ queue }) => queue.warming.pending().has(encodingId));
    const share = Math.max(1, Math.floor(Math.min(size, ratePerS) / Math.max(1, concerned.length)));
    const reads = concerned.map(async (partition) => {
      const batch = await partition.queue.warming.read(encodingId, share);
      return batch ? [{ partition, batch, isAll: batch.entryCount < share }] : [];
    });
    return (await allDone(reads)).flat();
  }

  /** Reads a batch of one encoding after the other until one has something to apply. */
  async function nextBatch(held: readonly HeldPartition[], encodingIds: readonly string[]): Promise<Found[]> {
    const lags = [0];
    for (let i = 0; i < encodingIds.length; i++) {
      const found = await read(held, encodingIds[turn++ % encodingIds.length] ?? '');
      lags.push(...found.map(({ batch }) => batch.lagMs));
      metrics.warmingLagSeconds.set(Math.max(...lags) / 1_000);
      const empty = found.filter(({ batch }) => batch.entryCount === 0);
      await allDone(empty.map(({ partition, batch }) => partition.queue.warming.nextPhase(batch)));
      const full = found.filter(({ batch }) => batch.entryCount > 0);
      if (full.length > 0) return full;
    }
    return [];
  }

  async function applyBatches(found: readonly Found[]): Promise<void> {
    const encodingId = found[0]?.batch.encodingId ?? '';
    const interactions = found.flatMap(({ batch }) => batch.waves.flatMap(interactionsOf));
    const unreadableCount = found.reduce((sum, { batch }) => sum + batch.unreadableCount, 0);
    if (unreadableCount > 0) log.warn({ encodingId, unreadableCount }, 'entries of a stream cannot be read; left out');
    const fences = found.map(({ partition }) => partition.fence);
    const encoded = await retryWhileHeld(fences, () => writer.encode(interactions, (id) => id === encodingId));
    await apply({ works: found.map(workOf), encoded });
  }

  /**
   * Makes partitions live whose event log was applied to its end. No live batch is between the two reads: otherwise a
   * partition with traffic would always have another entry.
   */
  async function nextPhases(found: readonly Found[]): Promise<void> {
    const ends = found.filter(({ batch, isAll }) => isAll && batch.phase === 'log');
    const reads = ends.map(async ({ partition: { queue }, batch }) => {
      const next = await queue.warming.read(batch.encodingId, 1);
      if (next?.entryCount === 0) await queue.warming.nextPhase(next);
    });
    await allDone(reads);
  }

  /** Shortens the pauses while the event log grows in spite of the steps. */
  function adaptPause(found: readonly Found[]): void {
    const lags = found.filter(({ batch }) => batch.phase === 'log').map(({ batch }) => batch.lagMs);
    if (lags.length === 0) {
      busyPause = BUSY_PAUSE[0];
      logLagMs = Number.POSITIVE_INFINITY;
      return;
    }
    const lagMs = Math.max(...lags);
    if (lagMs > 0 && lagMs >= logLagMs) busyPause = Math.max(BUSY_PAUSE[1], busyPause / 2);
    logLagMs = lagMs;
  }

  /** Throws bundle_not_loaded if the last bundle of the encoding was dropped: an append may then have written nothing. */
  function requireKnown({ encodingId }: WarmingBatch): void {
    if (writer.knows(encodingId)) return;
    throw new CkvError('bundle_not_loaded', 'the last bundle of an encoding was dropped while its records were built');
  }

  /**
   * Returns a batch as work of its partition. Each of its waves is a job, and each job is a wave: two of them have more
   * than 14 interactions of a user. So a wave that was applied and not noted comes again before any later one.
   */
  function workOf({ partition: { queue, fence }, batch }: Found): PartitionWork {
    const waves = new Map(batch.waves.map((wave) => [wave.lastId, wave]));
    const jobs = batch.waves.map((wave): ReadJob => {
      const queuedAtMs = Number(wave.lastId.split('-')[0]);
      const taken = { id: wave.lastId, name: 'record', payload: {}, queuedAtMs, progress: 0 };
      return { taken, job: { kind: 'record', interactions: interactionsOf(wave) } };
    });
    return {
      fence,
      waves: planWaves(jobs),
      queue: {
        ...queue,
        // Its interactions are in the event log, or come from files. They are appended though the encoding is not live.
        log: async () => undefined,
        warming: { ...queue.warming, pending: () => new Set() },
        async complete(done) {
          requireKnown(batch);
          for (const { id } of done) {
            const wave = waves.get(id);
            if (wave) await queue.warming.complete(batch, wave);
          }
        },
      },
    };
  }

  return {
    dueInMs(held) {
      const concerned = held.filter(({ queue }) => queue.warming.pending().size > 0);
      metrics.warmingPartitions.set(concerned.length);
      return concerned.length === 0 ? Number.POSITIVE_INFINITY : Math.max(0, nextMs - performance.now());
    },

    async step(held, busy) {
      const startedMs = performance.now();
      const found = await nextBatch(held, buildable(held));
      adaptPause(found);
      if (found.length === 0) {
        nextMs = performance.now() + IDLE_MS;
        return;
      }
      try {
        await applyBatches(found);
        await nextPhases(found);
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (isTransient(error) && error.reason !== 'bundle_not_loaded') throw error;
        // Live interactions go on. What is not noted as done is applied again.
        log.warn({ reason: error.reason, err: error.cause }, 'records that are being built get nothing for now');
        nextMs = performance.now() + FAILED_MS;
        return;
      }
      const entryCount = found.reduce((sum, { batch }) => sum + batch.entryCount, 0);
      const tookMs = performance.now() - startedMs;
      const byRateMs = startedMs + (1_000 * entryCount) / ratePerS;
      nextMs = Math.max(byRateMs, performance.now() + (busy ? busyPause * tookMs : 0));
      const wished = Math.floor(size * Math.min(2, Math.max(0.25, STEP_MS / tookMs)));
      size = Math.min(STEP_INTERACTIONS[1], Math.max(STEP_INTERACTIONS[0], wished));
    },
  };
}

function interactionsOf({ events }: WarmingWave): Interaction[] {
  return events.map(({ interaction }) => interaction);
}
