import {
  type BundleModel,
  type Candidates,
  type Feature,
  type Interaction,
  invalidRequest,
} from '@collectivekv/domain';
import type { PackedIds } from '@collectivekv/rpc';

/** What to do about the user's history. */
export type HistoryPolicy = 'preferred' | 'required' | 'ignored';

/** A feature for many rows. */
export interface FeatureColumn {
  readonly name: string;
  readonly values: Float32Array;
}

/** A rank request whose own bounds hold; what depends on the bundle is checked by {@link candidatesOf}. */
export interface RankQuery {
  readonly userId: string;
  readonly candidateIds: PackedIds;
  readonly candidateFeatures: readonly FeatureColumn[];
  readonly contextFeatures: readonly FeatureColumn[];
  readonly recentInteractions: readonly Interaction[];
  readonly maxStalenessMs: number;
  /** 0 returns all. */
  readonly topK: number;
  /** Empty means the active one. */
  readonly bundleId: string;
  readonly historyPolicy: HistoryPolicy;
}

/**
 * The query's candidates as the bundle's graphs take them.
 * @throws invalid_request for more candidates than the bundle allows, or features it does not have or that break its bounds
 */
export function candidatesOf(model: BundleModel, query: RankQuery): Candidates & { unknownCount: number } {
  const { manifest, items } = model;
  const ids = query.candidateIds;
  const count = ids.length;
  if (count > manifest.maxCandidates) {
    throw invalidRequest(
      'candidate_ids',
      `has ${count} ids, bundle ${model.id} takes at most ${manifest.maxCandidates}`,
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
      throw invalidRequest(`${at}.name`, 'is no feature of the bundle', `use one of: ${known}`);
    }
    if (columns[name]) throw invalidRequest(`${at}.name`, `${name} stands twice`, 'send each feature once');
    if (values.length !== count) {
      throw invalidRequest(
        `${at}.values`,
        `has ${values.length} values, ${count} are required`,
        'send float32, packed',
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
    'clip it or leave it out',
  );
}
