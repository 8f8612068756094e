import type { RankQuery } from '../rank-query.js';
import type { RankAnswer } from '../ranker.js';
import { type CaptureEnvironment, estimateBytes, writeCapture } from './capture.js';
import { sealCapture } from './capture-file.js';
import type { CaptureFolder } from './capture-folder.js';
import { type CaptureKey, userTag } from './capture-keys.js';
import type { CaptureMetrics } from './capture-metrics.js';
import type { CaptureOutcome } from './capture-outcome.js';

/** Captures requests into a folder. */
export interface Captures {
  /**
   * Runs the work that answers a request, and captures it if it asks for that. A capture is written after the answer.
   * @throws as `work` does; then nothing is captured
   */
  around(query: RankQuery, work: () => Promise<RankAnswer>): Promise<RankAnswer>;
  /** Removes a user's captures, also those of requests under way. */
  eraseUser(userId: string): void;
  /** Writes what waits. */
  close(): Promise<void>;
}

/** Options of {@link createCaptures}. */
export interface CapturesOptions {
  readonly folder: CaptureFolder;
  /** The first key encrypts. None: captures are plain. */
  readonly keys: () => readonly CaptureKey[];
  readonly maxCount: number;
  readonly maxBytes: number;
  readonly environment: CaptureEnvironment;
  readonly metrics: CaptureMetrics;
  readonly log: { warn(fields: object, message: string): void };
  /** Time between two sweeps of the folder, ms. */
  readonly sweepEveryMs: number;
}

/** Most captures that wait to be written, and their bytes: each keeps its request in memory. */
const MAX_WAITING = 64;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** A capture that is not written yet. */
interface Pending {
  readonly captureId: string;
  readonly userId: string;
  /** True if it waits to be written. */
  taken: boolean;
  /** True if the user was erased since the request began. */
  erased: boolean;
}

type Refusal = Exclude<CaptureOutcome, 'none' | 'taken'>;

interface Waiting {
  readonly pending: Pending;
  readonly answer: RankAnswer;
  readonly bytes: number;
}

/** Creates captures. */
export function createCaptures(options: CapturesOptions): Captures {
  const { folder, keys, maxCount, maxBytes, environment, metrics, log } = options;
  const pendings = new Map<string, Pending>(); // by capture id
  const waiting: Waiting[] = [];
  let waitingBytes = 0;
  let writing: Promise<void> | undefined;

  function begin({ captureId, userId }: RankQuery): Pending | Refusal {
    if (pendings.has(captureId) || folder.has(captureId)) return 'id_used';
    if (folder.count + pendings.size >= maxCount) return 'full';
    const pending = { captureId, userId, taken: false, erased: false };
    pendings.set(captureId, pending);
    return pending;
  }

  function take(pending: Pending, answer: RankAnswer): Refusal | 'taken' {
    if (pending.erased) return 'erased';
    const { query, recordBytes } = answer.basis;
    const bytes = estimateBytes({ query, recordBytes, answer });
    if (waiting.length >= MAX_WAITING || waitingBytes + bytes > MAX_WAITING_BYTES) return 'busy';
    if (folder.bytes + waitingBytes + bytes > maxBytes) return 'full';
    pending.taken = true;
    waiting.push({ pending, answer, bytes });
    waitingBytes += bytes;
    writing ??= new Promise<void>((resolve) => setImmediate(resolve)).then(writeAll);
    return 'taken';
  }

  async function writeAll(): Promise<void> {
    for (let next = waiting[0]; next; next = waiting[0]) {
      try {
        metrics.count(await write(next));
      } catch (thrown) {
        metrics.count('failed');
        // The message of the error has the path, and so the id, which the caller chose.
        log.warn({ problem: (thrown as NodeJS.ErrnoException).code ?? 'unknown' }, 'a capture cannot be written');
      }
      waiting.shift();
      waitingBytes -= next.bytes;
      pendings.delete(next.pending.captureId);
    }
    writing = undefined;
  }

  async function write({ pending, answer }: Waiting): Promise<'written' | 'erased'> {
    if (pending.erased) return 'erased';
    const { captureId, userId } = pending;
    const { bundle, query, ...basis } = answer.basis;
    const content = writeCapture({
      captureId,
      takenAtMs: Date.now(),
      environment,
      bundleId: bundle.model.id,
      encodingId: bundle.model.encodingId,
      query,
      recordBytes: basis.recordBytes,
      recordMissing: basis.recordMissing,
      rowsMissing: basis.rowsMissing,
      partCount: answer.partCount,
      answer: { scores: answer.scores, positionCount: answer.positionCount, rung: answer.rung },
    });
    const [key] = keys();
    const tag = userTag(key, userId);
    await folder.write({ captureId, userTag: tag }, sealCapture(content, key));
    if (!pending.erased) return 'written';
    await folder.eraseTags(new Set([tag]));
    return 'erased';
  }

  async function erase(userId: string): Promise<void> {
    const known = keys();
    await folder.eraseTags(new Set([undefined, ...known].map((key) => userTag(key, userId))));
  }

  const reportFailure = (what: string) => (thrown: unknown) =>
    log.warn({ problem: (thrown as NodeJS.ErrnoException).code ?? 'unknown' }, what);
  const sweeping = setInterval(
    () => void folder.sweep().catch(reportFailure('old captures cannot be removed')),
    options.sweepEveryMs,
  );
  sweeping.unref();

  return {
    async around(query, work) {
      if (query.captureId === '') return work();
      const begun = begin(query);
      const isRefused = typeof begun === 'string';
      try {
        const answer = await work();
        const capture = isRefused ? begun : take(begun, answer);
        if (capture !== 'taken') metrics.count(capture);
        return { ...answer, capture };
      } finally {
        if (!isRefused && !begun.taken) pendings.delete(query.captureId);
      }
    },
    eraseUser(userId) {
      for (const pending of pendings.values()) if (pending.userId === userId) pending.erased = true;
      void erase(userId).catch(reportFailure('captures of an erased user cannot be removed'));
    },
    async close() {
      clearInterval(sweeping);
      await writing;
    },
  };
}
