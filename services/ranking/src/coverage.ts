import type { AnnouncedBundle, BundleFollower, CoverageCounts, LoadedBundle } from '@collectivekv/bundles';
import { decodeRecord, steadyNowMs } from '@collectivekv/domain';
import type { ReadRecord } from './records/read-record.js';

/** A request that was answered from a record. */
export interface AnsweredRequest {
  readonly userId: string;
  /** The bundle that answered. */
  readonly bundle: LoadedBundle;
  /** Positions of the record that was read for it; 0 if the user has none. */
  readonly recordPositionCount: number;
}

/**
 * Measures the coverage of the encodings that the pool announces beside that of the active bundle: the share of the
 * requests whose users have a warm record under an encoding. A record is warm if it has nine tenths of the positions
 * that the active bundle's record has, as far as the encoding keeps so many. Users without a record do not count.
 * After a records change of an encoding, its coverage is measured anew.
 */
export interface CoverageSampler {
  /** Looks at a request if its turn has come. Returns at once; the records are read later. */
  observe(request: AnsweredRequest): void;
  /** Returns the counts of the latest requests by encoding. */
  counts(): ReadonlyMap<string, CoverageCounts>;
}

/** Options of {@link createCoverageSampler}. */
export interface CoverageOptions {
  readonly bundles: Pick<BundleFollower, 'active' | 'announced' | 'get'>;
  readonly read: ReadRecord;
  /** Most requests to look at, per second. */
  readonly ratePerS: number;
}

/** Least positions of a warm record, as a share of those in the active bundle's record. */
const WARM_SHARE = 0.9;
/** Latest requests of an encoding that count. */
const WINDOW = 1_000;
/** A request no longer counts after this time. */
const WINDOW_MS = 600_000;
const READ_TIMEOUT_MS = 1_000;

interface Look {
  readonly warm: boolean;
  readonly atMs: number;
}

/** What was looked at since a records change of an encoding. */
interface Measured {
  readonly recordsChange: number;
  /** The oldest first. */
  readonly looks: readonly Look[];
}

/** Creates a sampler that has looked at nothing. */
export function createCoverageSampler({ bundles, read, ratePerS }: CoverageOptions): CoverageSampler {
  /** By encoding. */
  const measured = new Map<string, Measured>();
  let nextMs = Number.NEGATIVE_INFINITY;
  let reading = false;

  /** Returns a loaded bundle of each announced encoding that differs from the active one. */
  function others(active: LoadedBundle): LoadedBundle[] {
    const found = new Map<string, LoadedBundle>();
    for (const announced of bundles.announced()) {
      const bundle = loaded(announced);
      if (!bundle || bundle.model.encodingId === active.model.encodingId) continue;
      const { encodingId } = bundle.model;
      found.set(encodingId, bundle);
      const { recordsChange } = announced;
      if (measured.get(encodingId)?.recordsChange !== recordsChange)
        measured.set(encodingId, { recordsChange, looks: [] });
    }
    for (const encodingId of measured.keys()) if (!found.has(encodingId)) measured.delete(encodingId);
    return [...found.values()];
  }

  function loaded({ bundleId }: AnnouncedBundle): LoadedBundle | undefined {
    try {
      return bundles.get(bundleId);
    } catch {
      return undefined; // it is still to be loaded
    }
  }

  async function look({ model }: LoadedBundle, { userId, recordPositionCount }: AnsweredRequest): Promise<void> {
    const { encodingId, layout, manifest } = model;
    const before = measured.get(encodingId);
    const bytes = await read(encodingId, userId, steadyNowMs() + READ_TIMEOUT_MS);
    const positionCount = bytes ? positionsOf(bytes, { encodingId, strideBytes: layout.strideBytes }) : 0;
    const wanted = WARM_SHARE * Math.min(recordPositionCount, manifest.maxPositions);
    if (!before || measured.get(encodingId) !== before) return; // the records have changed meanwhile
    const looks = [...before.looks, { warm: positionCount >= wanted, atMs: steadyNowMs() }].slice(-WINDOW);
    measured.set(encodingId, { ...before, looks });
  }

  async function lookAt(request: AnsweredRequest, candidates: readonly LoadedBundle[]): Promise<void> {
    try {
      for (const bundle of candidates) await look(bundle, request);
    } catch {
      // Redis is away: the request is not looked at. Its own read has been reported.
    } finally {
      reading = false;
    }
  }

  return {
    observe(request) {
      const nowMs = steadyNowMs();
      if (nowMs < nextMs || reading || request.recordPositionCount === 0) return;
      const active = bundles.active();
      if (request.bundle.model.encodingId !== active.model.encodingId) return;
      nextMs = nowMs + 1_000 / ratePerS;
      const candidates = others(active);
      if (candidates.length === 0) return;
      reading = true;
      setImmediate(() => void lookAt(request, candidates)); // after the answer is on its way
    },
    counts() {
      const oldestMs = steadyNowMs() - WINDOW_MS;
      const counted = [...measured].map(([encodingId, { recordsChange, looks }]) => {
        const latest = looks.filter(({ atMs }) => atMs >= oldestMs);
        const warmCount = latest.filter(({ warm }) => warm).length;
        return [encodingId, { sampledCount: latest.length, warmCount, recordsChange }] as const;
      });
      return new Map(counted);
    },
  };
}

/** Returns the positions of a record; 0 for one that cannot be read. */
function positionsOf(bytes: Uint8Array, expected: { encodingId: string; strideBytes: number }): number {
  try {
    return decodeRecord(bytes, expected).positionCount;
  } catch {
    return 0;
  }
}
