import { readFileSync } from 'node:fs';
import { encodingIdOf, parseManifest } from '@collectivekv/domain';
import { DEMO_BUNDLE } from '../fixture-bundles.js';
import { bundleId, encodingId, type Rpcs, wrongBundleIds, wrongEncodingIds } from './shared-cases.js';

const demo = parseManifest(readFileSync(`${DEMO_BUNDLE}/bundle.json`));
const demoEncoding = encodingIdOf(demo);
const packed = (...numbers: number[]) => Buffer.from(Uint32Array.from(numbers).buffer);
const usage = { field: 'item', slots: packed(1, 2), counts: packed(3, 4) };
const usageWith = (changes: object) => ({ encodingId: demoEncoding, fields: [{ ...usage, ...changes }] });

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
  'PoolService/NoteRecordsChange': [
    { encodingId: demoEncoding },
    [['no encoding', 'encoding_id', {}], ...wrongEncodingIds((id) => ({ encodingId: id }))],
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
  'PoolService/ReportSlotUsage': [
    usageWith({}),
    [
      ['no encoding', 'encoding_id', { fields: [usage] }],
      ['an encoding of no bundle', 'encoding_id', { encodingId, fields: [usage] }, ['bundle_not_loaded']],
      ['65 fields', 'fields', { encodingId: demoEncoding, fields: Array(65).fill(usage) }],
      ['an unknown field', 'fields[0].field', usageWith({ field: 'nope' })],
      ['half a slot', 'fields[0].slots', usageWith({ slots: Buffer.alloc(3) })],
      ['half a count', 'fields[0].counts', usageWith({ counts: Buffer.alloc(3) })],
      ['a count too few', 'fields[0].counts', usageWith({ counts: packed(1) })],
      ['too many slots', 'fields[0].slots', usageWith({ slots: Buffer.alloc(800_004) })],
      ['a slot beyond the pool', 'fields[0].slots', usageWith({ slots: packed(1, 2_001) })],
      ...wrongEncodingIds((id) => ({ encodingId: id, fields: [usage] })),
    ],
  ],
  'PoolService/GetPoolHealth': [
    {},
    [
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/NameItems': [
    { indices: packed(1, 2) },
    [
      ['half an index', 'indices', { indices: Buffer.alloc(3) }],
      ['too many indices', 'indices', { indices: Buffer.alloc(40_004) }],
      ['an unknown bundle', 'bundle_id', { bundleId }, ['bundle_not_loaded']],
      ...wrongBundleIds((id) => ({ bundleId: id })),
    ],
  ],
  'PoolService/Rollback': [{}, [['a coverage above the whole', 'min_coverage_bp', { minCoverageBp: 10_001 }]]],
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
