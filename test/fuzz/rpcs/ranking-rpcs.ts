import type { HandMade } from './malformed-requests.js';
import {
  bundleId,
  interaction,
  longId,
  manyIds,
  type Rpcs,
  wrongBundleIds,
  wrongInteractions,
} from './shared-cases.js';

const floats = (...values: number[]) => Buffer.from(Float32Array.from(values).buffer);
const lengths = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer);
const rank = { userId: 'u', candidateIds: ['i0001', 'i0002'] };
/** The same candidates as a column. */
const packed = { userId: 'u', candidateIdText: Buffer.from('i0001i0002'), candidateIdLengths: lengths(5, 5) };

const wrongRanks: HandMade = [
  ['no user', 'user_id', { ...rank, userId: '' }],
  ['a long user id', 'user_id', { ...rank, userId: longId }],
  ['no candidates', 'candidate_ids', { ...rank, candidateIds: [] }],
  ['10,001 candidates', 'candidate_ids', { ...rank, candidateIds: manyIds(10_001) }],
  ['more candidates than the bundle takes', 'candidate_ids', { ...rank, candidateIds: manyIds(1_001) }],
  ['an empty candidate', 'candidate_ids[1]', { ...rank, candidateIds: ['i0001', ''] }],
  ['a long candidate', 'candidate_ids[1]', { ...rank, candidateIds: ['i0001', longId] }],
  ['candidates twice', 'candidate_id_text', { ...packed, candidateIds: ['i0001'] }],
  ['half a length', 'candidate_id_lengths', { ...packed, candidateIdLengths: Buffer.alloc(6) }],
  ['lengths without candidates', 'candidate_id_lengths', { ...packed, candidateIdText: Buffer.alloc(0) }],
  ['candidates without lengths', 'candidate_id_lengths', { ...packed, candidateIdLengths: Buffer.alloc(0) }],
  ['lengths of too few bytes', 'candidate_id_lengths', { ...packed, candidateIdLengths: lengths(5, 4) }],
  ['an empty packed candidate', 'candidate_ids[1]', { ...packed, candidateIdLengths: lengths(10, 0) }],
  [
    'a long packed candidate',
    'candidate_ids[0]',
    { ...packed, candidateIdText: Buffer.from(longId), candidateIdLengths: lengths(257) },
  ],
  [
    'a NaN feature',
    'candidate_features[0].values[1]',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: floats(0, Number.NaN) }] },
  ],
  [
    'an infinite feature',
    'candidate_features[0].values[0]',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: floats(Number.POSITIVE_INFINITY, 0) }] },
  ],
  [
    'a feature out of bounds',
    'candidate_features[0].values[0]',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: floats(1.5, 0) }] },
  ],
  [
    'a short column',
    'candidate_features[0].values',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: floats(1) }] },
  ],
  [
    'a column of half floats',
    'candidate_features[0].values',
    { ...rank, candidateFeatures: [{ name: 'freshness', values: Buffer.alloc(7) }] },
  ],
  [
    'an unknown feature',
    'candidate_features[0].name',
    { ...rank, candidateFeatures: [{ name: 'x', values: floats(1, 1) }] },
  ],
  [
    'a feature twice',
    'candidate_features[1].name',
    { ...rank, candidateFeatures: Array(2).fill({ name: 'freshness', values: floats(1, 1) }) },
  ],
  [
    'too many columns',
    'candidate_features',
    { ...rank, candidateFeatures: manyIds(65).map((name) => ({ name, values: floats(1, 1) })) },
  ],
  [
    'a NaN context',
    'context_features[0].values[0]',
    { ...rank, contextFeatures: [{ name: 'hour', values: floats(Number.NaN) }] },
  ],
  [
    'two values of a context',
    'context_features[0].values',
    { ...rank, contextFeatures: [{ name: 'hour', values: floats(1, 2) }] },
  ],
  [
    "another user's recent interaction",
    'recent_interactions[0].userId',
    { ...rank, recentInteractions: [{ ...interaction, userId: 'v' }] },
  ],
  ['101 recent interactions', 'recent_interactions', { ...rank, recentInteractions: Array(101).fill(interaction) }],
  ['too much staleness', 'max_staleness_ms', { ...rank, maxStalenessMs: 3_600_001 }],
  ['an unknown bundle', 'bundle_id', { ...rank, bundleId }, ['bundle_not_loaded']],
  ['an unknown policy', 'history_policy', { ...rank, historyPolicy: 9 }],
  ...wrongBundleIds((id) => ({ ...rank, bundleId: id })),
  ...wrongInteractions('recent_interactions[0]', (one) => ({ ...rank, recentInteractions: [one] })),
];

/** RPCs of RankingService with their malformed requests. */
export const RANKING_RPCS: Rpcs = {
  'RankingService/Rank': [rank, wrongRanks],
  'RankingService/RankStream': [rank, wrongRanks],
  'RankingService/RankMany': [
    { requests: [rank] },
    [
      ['no requests', 'requests', { requests: [] }],
      ['65 requests', 'requests', { requests: Array(65).fill(rank) }],
    ],
  ],
};
