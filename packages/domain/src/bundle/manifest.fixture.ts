import { type BundleModel, createBundleModel } from './bundle-model.js';
import type { GraphInput, GraphOutput, GraphSpec, Manifest } from './manifest-schema.js';

const sha256 = '0'.repeat(64);
const candidates: GraphInput[] = [
  { name: 'candidate_item', role: 'candidate_item', type: 'int64', shape: ['candidates'] },
  { name: 'freshness', role: 'candidate_feature', feature: 'freshness', type: 'float32', shape: ['candidates'] },
  { name: 'hour', role: 'context_feature', feature: 'hour', type: 'float32', shape: [1] },
];
const scores: GraphOutput[] = [{ name: 'scores', role: 'scores', type: 'float32', shape: ['candidates'] }];

/**
 * Returns a small manifest: 4 slots of width 2, one route for key and value, int8 and float16 user dims, a raw time.
 */
export function fixtureManifest(): Manifest {
  return structuredClone<Manifest>({
    schemaVersion: 1,
    name: 'fixture',
    family: 'target-attention',
    description: 'for tests',
    dModel: 2,
    heads: 1,
    maxPositions: 5,
    maxCandidates: 3,
    items: { file: 'items.json', count: 3 },
    actions: ['<unknown>', 'click'],
    features: {
      interaction: [{ name: 'watch_ratio', default: 0.5, min: 0, max: 1 }],
      candidate: [{ name: 'freshness', default: 0.5, min: 0, max: 1 }],
      context: [{ name: 'hour', default: 12, min: 0, max: 24 }],
    },
    record: {
      fields: [
        { kind: 'route', name: 'route', type: 'uint8', width: 1, slots: 4 },
        { kind: 'user', name: 'user_key', type: 'int8', width: 1, scale: [0.5] },
        { kind: 'user', name: 'user_value', type: 'float16', width: 1 },
        { kind: 'raw', name: 'time', type: 'uint32', width: 1, source: 'timestamp_s' },
      ],
    },
    groups: [
      {
        name: 'history',
        pool: { slots: 4, keyWidth: 2, valueWidth: 2 },
        key: { route: 'route', user: 'user_key' },
        value: { route: 'route', user: 'user_value' },
      },
    ],
    graphs: {
      encode: {
        file: 'encode.onnx',
        inputs: [
          { name: 'item', role: 'interaction_item', type: 'int64', shape: ['batch'] },
          { name: 'action', role: 'interaction_action', type: 'int64', shape: ['batch'] },
          { name: 'ratio', role: 'interaction_feature', feature: 'watch_ratio', type: 'float32', shape: ['batch'] },
        ],
        outputs: [
          { name: 'route', role: 'field', field: 'route', type: 'int64', shape: ['batch', 1] },
          { name: 'user_key', role: 'field', field: 'user_key', type: 'float32', shape: ['batch', 1] },
          { name: 'user_value', role: 'field', field: 'user_value', type: 'float32', shape: ['batch', 1] },
        ],
      },
      rank: {
        file: 'rank.onnx',
        inputs: [
          ...candidates,
          { name: 'slots', role: 'distinct_slots', field: 'route', type: 'int64', shape: ['slots'] },
          { name: 'slot_counts', role: 'slot_counts', field: 'route', type: 'float32', shape: ['slots'] },
          { name: 'routes', role: 'routes', field: 'route', type: 'int64', shape: ['positions'] },
          { name: 'user_key', role: 'user', field: 'user_key', type: 'float32', shape: ['positions', 1] },
          { name: 'user_value', role: 'user', field: 'user_value', type: 'float32', shape: ['positions', 1] },
        ],
        outputs: [...scores],
      },
      rankKv: {
        file: 'rank_kv.onnx',
        inputs: [
          ...candidates,
          { name: 'key', role: 'key', group: 'history', type: 'float32', shape: ['positions', 3] },
          { name: 'value', role: 'value', group: 'history', type: 'float32', shape: ['positions', 3] },
        ],
        outputs: [...scores],
      },
      gather: {
        file: 'gather.onnx',
        inputs: [
          { name: 'key_slots', role: 'slots', group: 'history', part: 'key', type: 'int64', shape: ['slots'] },
          { name: 'value_slots', role: 'slots', group: 'history', part: 'value', type: 'int64', shape: ['slots'] },
        ],
        outputs: [
          { name: 'key_rows', role: 'rows', group: 'history', part: 'key', type: 'float32', shape: ['slots', 2] },
          { name: 'value_rows', role: 'rows', group: 'history', part: 'value', type: 'float32', shape: ['slots', 2] },
        ],
      },
    },
    golden: { tensors: 'golden/tensors.json', served: 'golden/served.json', tolerance: 0.0001 },
    files: [
      'encode.onnx',
      'rank.onnx',
      'rank_kv.onnx',
      'gather.onnx',
      'items.json',
      'golden/tensors.json',
      'golden/served.json',
    ].map((path) => ({ path, bytes: 0, sha256 })),
    training: { command: 'none', metrics: { auc: 0.5 } },
  });
}

/** Adds an explain graph over distinct slots to a manifest, and returns it. */
export function addExplainGraph(manifest: Manifest): GraphSpec {
  const positions = { type: 'float32', shape: ['candidates', 'positions'] } as const;
  const outputs: GraphOutput[] = [
    ...scores,
    { name: 'base_scores', role: 'base_scores', type: 'float32', shape: ['candidates'] },
    { name: 'contributions', role: 'contributions', ...positions, shape: [...positions.shape] },
    { name: 'own_contributions', role: 'own_contributions', ...positions, shape: [...positions.shape] },
    { name: 'heads', role: 'attention', part: 'history', type: 'float32', shape: ['candidates', 1, 'positions'] },
  ];
  const places: GraphInput = {
    name: 'places',
    role: 'slot_places',
    field: 'route',
    type: 'int64',
    shape: ['positions'],
  };
  const explain = { file: 'explain.onnx', inputs: [...manifest.graphs.rank.inputs, places], outputs };
  manifest.graphs.explain = explain;
  manifest.files.push({ path: 'explain.onnx', bytes: 0, sha256 });
  return explain;
}

/** Adds a graph for batches of users to a manifest, and returns it. */
export function addRankBatchGraph(manifest: Manifest): GraphSpec {
  const { rank } = manifest.graphs;
  const inputs = rank.inputs.map((input) => ({ ...input, shape: ['users', ...input.shape] }));
  const rows: GraphInput = { name: 'rows', role: 'row_count', axis: 'positions', type: 'int64', shape: ['users'] };
  const outputs = rank.outputs.map((output) => ({ ...output, shape: ['users', ...output.shape] }));
  const rankBatch = { file: 'rank_batch.onnx', inputs: [...inputs, rows], outputs };
  manifest.graphs.rankBatch = rankBatch;
  manifest.files.push({ path: 'rank_batch.onnx', bytes: 0, sha256 });
  return rankBatch;
}

/** Returns the fixture with an encode graph that takes the history: routes, user keys and times. */
export function historyManifest(): Manifest {
  const manifest = fixtureManifest();
  manifest.graphs.encode.inputs.push(
    { name: 'routes', role: 'routes', field: 'route', type: 'int64', shape: ['positions'] },
    { name: 'user_key', role: 'user', field: 'user_key', type: 'float32', shape: ['positions', 1] },
    { name: 'time', role: 'raw', field: 'time', type: 'float32', shape: ['positions', 1] },
  );
  return manifest;
}

/** Returns the fixture with a codebook: one more route field, of 256 slots, with a group of its own. */
export function codebookManifest(): Manifest {
  const manifest = fixtureManifest();
  manifest.record.fields.push({ kind: 'route', name: 'code', type: 'uint8', width: 1, slots: 256 });
  manifest.groups.push({
    name: 'codes',
    pool: { slots: 256, keyWidth: 1, valueWidth: 3 },
    key: { route: 'code' },
    value: { route: 'code' },
  });
  const { encode, rank, rankKv, gather } = manifest.graphs;
  encode.outputs.push({ name: 'code', role: 'field', field: 'code', type: 'int64', shape: ['batch', 1] });
  rank.inputs.push(
    { name: 'codes', role: 'distinct_slots', field: 'code', type: 'int64', shape: ['codes'] },
    { name: 'code_counts', role: 'slot_counts', field: 'code', type: 'float32', shape: ['codes'] },
  );
  rankKv.inputs.push(
    { name: 'code_key', role: 'key', group: 'codes', type: 'float32', shape: ['positions', 1] },
    { name: 'code_value', role: 'value', group: 'codes', type: 'float32', shape: ['positions', 3] },
  );
  for (const part of ['key', 'value'] as const) {
    const width = part === 'key' ? 1 : 3;
    gather.inputs.push({
      name: `code_${part}_slots`,
      role: 'slots',
      group: 'codes',
      part,
      type: 'int64',
      shape: ['n'],
    });
    gather.outputs.push({
      name: `code_${part}_rows`,
      role: 'rows',
      group: 'codes',
      part,
      type: 'float32',
      shape: ['n', width],
    });
  }
  return manifest;
}

/**
 * Returns the fixture of a full model, without routes: keys of 80 float16 and values of 80 float32, 480 bytes per row.
 */
export function fullManifest(): Manifest {
  const manifest = fixtureManifest();
  const shape = ['positions', 80];
  manifest.record.fields = [
    { kind: 'user', name: 'key', type: 'float16', width: 80 },
    { kind: 'user', name: 'value', type: 'float32', width: 80 },
  ];
  manifest.groups = [
    {
      name: 'history',
      pool: { slots: 1, keyWidth: 80, valueWidth: 80 },
      key: { user: 'key' },
      value: { user: 'value' },
    },
  ];
  const { encode, rank, rankKv } = manifest.graphs;
  encode.outputs = [
    { name: 'key', role: 'field', field: 'key', type: 'float32', shape: ['batch', 80] },
    { name: 'value', role: 'field', field: 'value', type: 'float32', shape: ['batch', 80] },
  ];
  rank.inputs = [
    ...candidates,
    { name: 'key', role: 'user', field: 'key', type: 'float16', shape },
    { name: 'key_numbers', role: 'user', field: 'key', type: 'float32', shape },
    { name: 'value', role: 'user', field: 'value', type: 'float32', shape },
  ];
  rankKv.inputs = [
    ...candidates,
    { name: 'key', role: 'key', group: 'history', type: 'float32', shape },
    { name: 'value', role: 'value', group: 'history', type: 'float32', shape },
  ];
  return manifest;
}

/** Returns the bytes of bundle.json for a manifest. */
export function manifestBytes(manifest: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(manifest));
}

/** Returns the model of a fixture. Its items are `a` (index 1) and `b` (index 2). */
export function fixtureModel(manifest = fixtureManifest()): BundleModel {
  return createBundleModel({ manifestBytes: manifestBytes(manifest), itemIds: ['', 'a', 'b'] });
}
