import type { LoadedBundle } from '@collectivekv/bundles';
import { CkvError, type GraphName } from '@collectivekv/domain';
import { createLocalPoolRows } from '../attention/local-pool-rows.js';
import type { PoolRows } from '../attention/pool-rows.js';
import { oneBundle } from '../one-bundle.js';
import { createRanker, type RankAnswer } from '../ranker.js';
import type { Capture } from './capture.js';

/** How replayed scores compare with the captured ones. */
export interface Replayed {
  readonly answer: Pick<RankAnswer, 'scores' | 'positionCount' | 'rung' | 'partCount'>;
  /** True if every score is the same bit for bit. */
  readonly identical: boolean;
  /** Largest difference of a score, and the index of its candidate. */
  readonly largestDifference: number;
  readonly largestAt: number;
  /** Candidates whose scores are not the same bit for bit. */
  readonly differingCount: number;
}

/** Returns the graphs that a replay of a capture runs, and whether it needs pool tables. */
export function replayNeeds({ environment }: Capture): { graphs: readonly GraphName[]; poolTables: boolean } {
  const remote = environment.poolMode === 'remote';
  return { graphs: remote ? ['encode', 'rankKv', 'gather'] : ['encode', 'rank'], poolTables: !remote };
}

/**
 * Computes the scores of a captured request again, by the code that answers requests. What could not be read then is
 * missing again. The candidates are divided as they were then.
 * @param loaded the capture's bundle, with what {@link replayNeeds} says, on one worker with as many threads as then
 * @throws invalid_request for another bundle; otherwise as Ranker.rank does
 */
export async function replayCapture(capture: Capture, loaded: LoadedBundle): Promise<Replayed> {
  const { captureId, bundleId, environment, query, partCount } = capture;
  if (loaded.model.id !== bundleId) {
    throw new CkvError('invalid_request', `capture ${captureId} is of bundle ${bundleId}, not ${loaded.model.id}`);
  }
  // As many parts as there were idle workers then.
  const graphs = Object.create(loaded.graphs, { idleWorkerCount: { value: partCount } }) as LoadedBundle['graphs'];
  const bundle: LoadedBundle = { ...loaded, graphs, splitsCandidates: true };
  const ranker = createRanker({
    bundles: oneBundle(bundle),
    records: {
      async get() {
        if (!capture.recordBytes && capture.recordMissing) throw missing(capture.recordMissing);
        return { bytes: capture.recordBytes, ageMs: 0 };
      },
    },
    poolRows: environment.poolMode === 'remote' ? poolRowsOf(capture, bundle) : undefined,
    partCandidates: 1,
    othersWait: () => false,
  });
  const answer = await ranker.rank(
    { ...query, maxStalenessMs: 0, topK: 0, bundleId: '', captureId: '', explain: false },
    { deadlineMs: Number.POSITIVE_INFINITY, signal: new AbortController().signal },
  );
  return { answer, ...differenceOf(capture.answer.scores, answer.scores) };
}

/** Returns pool rows that are gathered here, or missing for the reason for which they were missing then. */
function poolRowsOf({ rowsMissing }: Capture, bundle: LoadedBundle): PoolRows {
  const local = createLocalPoolRows(bundle);
  return {
    ...local,
    gather: (...args) => (rowsMissing ? Promise.reject(missing(rowsMissing)) : local.gather(...args)),
  };
}

function differenceOf(captured: Float32Array, replayed: Float32Array): Omit<Replayed, 'answer'> {
  if (captured.length !== replayed.length) {
    throw new CkvError('invalid_request', `${captured.length} scores were captured, ${replayed.length} were replayed`);
  }
  const [a, b] = [captured, replayed].map((scores) => new Uint32Array(scores.buffer, scores.byteOffset, scores.length));
  let [differingCount, largestDifference, largestAt] = [0, 0, 0];
  for (let i = 0; i < captured.length; i++) {
    if (a?.[i] === b?.[i]) continue;
    differingCount++;
    const difference = Math.abs((captured[i] as number) - (replayed[i] as number));
    if (difference > largestDifference) [largestDifference, largestAt] = [difference, i];
  }
  return { identical: differingCount === 0, differingCount, largestDifference, largestAt };
}

function missing(reason: NonNullable<Capture['recordMissing']>): CkvError {
  return new CkvError(reason, 'was missing when the request was captured');
}
