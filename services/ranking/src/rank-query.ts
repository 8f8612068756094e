import {
  type BundleModel,
  type Candidates,
  type CkvError,
  counted,
  type Feature,
  type Interaction,
  invalidRequest,
} from '@collectivekv/domain';
import type { PackedIds } from '@collectivekv/rpc';

/** How to use the history: `preferred` uses it if it can be read, `required` fails without it, `ignored` reads none. */
export type HistoryPolicy = 'preferred' | 'required' | 'ignored';

/** Values of one feature. */
export interface FeatureColumn {
  readonly name: string;
  readonly values: Float32Array;
}

/** A rank request, checked except for the limits of the bundle: {@link candidatesOf} checks those. */
export interface RankQuery {
  readonly userId: string;
  readonly candidateIds: PackedIds;
  readonly candidateFeatures: readonly FeatureColumn[];
  readonly contextFeatures: readonly FeatureColumn[];
  readonly recentInteractions: readonly Interaction[];
  readonly maxStalenessMs: number;
  /** Indices to return in the order; 0 returns all. */
  readonly topK: number;
  /** Empty means the active bundle. */
  readonly bundleId: string;
  readonly historyPolicy: HistoryPolicy;
  /** Names the capture of the request. Empty: it is not captured. */
  readonly captureId: string;
  /** True also explains the scores. */
  readonly explain: boolean;
}

/** Limits of a rank request. */
export interface RankLimits {
  /** Unix ms. */
  readonly deadlineMs: number;
  /** Why the caller stopped waiting; undefined while it waits. */
  readonly ended?: CkvError | undefined;
  /** Aborts when the caller stops waiting. */
  readonly signal: AbortSignal;
}

/**
 * Returns the query's candidates as the bundle's graphs take them, and how many the bundle does not know.
 * @throws invalid_request for more candidates than the bundle allows, an unknown feature, or a value out of its bounds
 */
export function candidatesOf(model: BundleModel, query: RankQuery): Candidates & { unknownCount: number } {
  const { manifest, items } = model;
  const ids = query.candidateIds;
  const count = ids.length;
  if (count > manifest.maxCandidates) {
    throw invalidRequest(
      'candidate_ids',
      `has ${count} ids, bundle ${model.id} allows at most ${manifest.maxCandidates}`,
      'rank in several calls',
    );
  }
  const itemIndices = new Int32Array(count); // [candidates]
  let unknownCount = 0;
  for (let i = 0; i < count; i++) {
    const index = items.indexOfBytes(ids.bytes, ids.from(i), ids.to(i));
    itemIndices[i] = index;
    if (index === 0) unknownCount++;
  }
  const columns = columnsOf(manifest.features.candidate, query.candidateFeatures, 'candidate_features', count);
  const context = columnsOf(manifest.features.context, query.contextFeatures, 'context_features', 1);
  return {
    itemIndices,
    columns,
    context: Object.fromEntries(Object.entries(context).map(([name, values]) => [name, values[0] ?? 0])),
    unknownCount,
  };
}

function columnsOf(
  features: readonly Feature[],
  given: readonly FeatureColumn[],
  field: string,
  count: number,
): Record<string, Float32Array> {
  const columns: Record<string, Float32Array> = Object.create(null);
  given.forEach(({ name, values }, i) => {
    const at = `${field}[${i}]`;
    const feature = features.find((candidate) => candidate.name === name);
    if (!feature) {
      const known = features.map((candidate) => candidate.name).join(', ') || 'none';
      throw invalidRequest(`${at}.name`, 'is not a feature of the bundle', `use one of: ${known}`);
    }
    if (columns[name]) throw invalidRequest(`${at}.name`, `${name} is sent twice`, 'send each feature once');
    if (values.length !== count) {
      throw invalidRequest(
        `${at}.values`,
        `has ${counted(values.length, 'value')}, ${count} are required`,
        'send packed float32',
      );
    }
    checkBounds(values, feature, `${at}.values`);
    columns[name] = values;
  });
  for (const feature of features) columns[feature.name] ??= new Float32Array(count).fill(feature.default);
  return columns;
}

function checkBounds(values: Float32Array, { name, min, max }: Feature, field: string): void {
  const bad = values.findIndex((value) => !(value >= min && value <= max));
  if (bad < 0) return;
  throw invalidRequest(
    `${field}[${bad}]`,
    `${name} is ${values[bad]}, ${min} to ${max} is required`,
    'clip the value, or leave the feature out',
  );
}
