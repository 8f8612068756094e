import { bundleId, type Rpcs, wrongBundleIds } from './shared-cases.js';

/** RPCs of PoolService with their malformed requests. */
export const POOL_RPCS: Rpcs = {
  'PoolService/Describe': [
    {},
    [
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/Gather': [
    { keySlots: Buffer.alloc(4) },
    [
      ['an unknown bundle', 'bundle_id', { bundleId, keySlots: Buffer.alloc(4) }, ['bundle_not_loaded']],
      ['an unknown group', 'group', { group: 'nope', keySlots: Buffer.alloc(4) }],
      ['half a slot', 'key_slots', { keySlots: Buffer.alloc(3) }],
      // The demo's pool has a row for each of its 2,001 items.
      ['a slot beyond the pool', 'key_slots[1]', { keySlots: Buffer.from(Uint32Array.of(2_000, 2_001).buffer) }],
      [
        'a value slot beyond the pool',
        'value_slots[0]',
        { keySlots: Buffer.alloc(4), valueSlots: Buffer.from([0, 0, 0, 9]) },
      ],
      ['too many slots', 'key_slots', { keySlots: Buffer.alloc(400_004) }],
      ['an unknown element type', 'element_type', { keySlots: Buffer.alloc(4), elementType: 7 }],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/FetchBundle': [
    {},
    [
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/SetCandidate': [
    { bundleId, shareBp: 500 },
    [
      ['no bundle', 'bundle_id', {}],
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ['a share above the whole', 'share_bp', { bundleId, shareBp: 10_001 }],
      ['a coverage above the whole', 'min_coverage_bp', { bundleId, minCoverageBp: 10_001 }],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/CancelCandidate': [
    { bundleId },
    [
      ['no bundle', 'bundle_id', {}],
      ['no candidate', 'bundle_id', { bundleId }],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/ReportBundles': [
    { service: 'ranking', replicaId: 'fuzz', bundles: [{ bundleId, loaded: true, sampledCount: 1, warmCount: 1 }] },
    [
      ['no service', 'service', { replicaId: 'fuzz' }],
      ['a service of 65 bytes', 'service', { service: 's'.repeat(65), replicaId: 'fuzz' }],
      ['no replica', 'replica_id', { service: 'ranking' }],
      ['a replica of 257 bytes', 'replica_id', { service: 'ranking', replicaId: 'r'.repeat(257) }],
      ['65 bundles', 'bundles', { service: 'ranking', replicaId: 'r', bundles: Array(65).fill({ bundleId }) }],
      ...wrongBundleIds((id) => ({ service: 'ranking', replicaId: 'r', bundles: [{ bundleId: id }] })),
    ],
  ],
  'PoolService/Activate': [
    { bundleId },
    [
      ['no bundle', 'bundle_id', {}],
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ['a coverage above the whole', 'min_coverage_bp', { bundleId, minCoverageBp: 10_001 }],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
};
