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
  'PoolService/Activate': [
    { bundleId },
    [
      ['no bundle', 'bundle_id', {}],
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
};
