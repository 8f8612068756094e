import { z } from 'zod';
import { MAX_STRIDE_BYTES } from '../record/record.js';

/** Slots of the largest pool: three bytes name any of them. */
const MAX_SLOTS = 16_777_216;

const name = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, 'must be 1 to 64 of a-z, 0-9, - and _');
const count = (max: number) => z.int().min(1).max(max);
const path = z
  .string()
  .regex(/^[\w.-]+(\/[\w.-]+)*$/, 'must be a relative path')
  .refine((value) => !value.split('/').includes('..'), 'must stay inside the bundle')
  // Each file has one path. encodingIdOf compares paths as text.
  .refine((value) => !value.split('/').includes('.'), 'must have no folder named "."');
const tensorType = z.enum(['float32', 'float16', 'int64', 'int32', 'uint8']);
const shape = z.array(z.union([z.int().min(0), name])).max(4);

const featureSchema = z
  .strictObject({ name, default: z.number(), min: z.number(), max: z.number() })
  .refine((feature) => feature.min <= feature.default && feature.default <= feature.max, {
    error: 'default must lie within min and max',
  });

const fieldSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('route'),
    name,
    type: z.enum(['uint8', 'uint16', 'uint24', 'uint32']),
    width: z.literal(1),
    slots: count(MAX_SLOTS),
  }),
  z.strictObject({
    kind: z.literal('user'),
    name,
    type: z.enum(['int8', 'float16', 'float32']),
    width: count(MAX_STRIDE_BYTES),
    scale: z.array(z.number().positive()).optional(),
  }),
  z.strictObject({
    kind: z.literal('raw'),
    name,
    type: z.enum(['uint8', 'uint16', 'uint32', 'float16', 'float32']),
    width: z.literal(1),
    source: name, // an interaction feature, or timestamp_s
  }),
]);

const partSchema = z.strictObject({ route: name.optional(), user: name.optional() });
const groupSchema = z.strictObject({
  name,
  pool: z.strictObject({ slots: count(MAX_SLOTS), keyWidth: count(65_536), valueWidth: count(65_536).optional() }),
  key: partSchema,
  value: partSchema.optional(),
});

const poolPart = z.strictObject({ group: name, part: z.enum(['key', 'value']) });
const clusteringSchema = z.strictObject({
  name,
  width: count(65_536),
  by: z
    .array(z.strictObject({ field: name, clusters: count(65_536), map: path.optional() }))
    .min(1)
    .max(4),
  terms: z
    .array(
      z.strictObject({
        field: name,
        rows: poolPart,
        scale: z.strictObject({ field: name, rows: poolPart }).optional(),
      }),
    )
    .min(1)
    .max(16),
});

const tensorSpec = { name: z.string().min(1), type: tensorType, shape };
const group = { group: name, part: z.enum(['key', 'value']) };
/** Limits an input over positions to the newest ones. */
const last = count(65_536).optional();
const inputSchema = z.discriminatedUnion('role', [
  z.strictObject({ role: z.literal('interaction_item'), ...tensorSpec }),
  z.strictObject({ role: z.literal('interaction_action'), ...tensorSpec }),
  z.strictObject({ role: z.literal('interaction_feature'), feature: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('candidate_item'), ...tensorSpec }),
  z.strictObject({ role: z.literal('candidate_feature'), feature: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('context_feature'), feature: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('routes'), field: name, last, ...tensorSpec }),
  z.strictObject({ role: z.literal('distinct_slots'), field: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('slot_counts'), field: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('slot_places'), field: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('cluster_counts'), clustering: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('cluster_means'), clustering: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('cluster_places'), clustering: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('position_embeddings'), clustering: name, last, ...tensorSpec }),
  z.strictObject({ role: z.literal('user'), field: name, last, ...tensorSpec }),
  z.strictObject({ role: z.literal('raw'), field: name, last, ...tensorSpec }),
  z.strictObject({ role: z.literal('key'), group: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('value'), group: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('slots'), ...group, ...tensorSpec }),
  // Of each user, the rows of the inputs whose second axis has this name. What follows is padding.
  z.strictObject({ role: z.literal('row_count'), axis: name, ...tensorSpec }),
]);
const outputSchema = z.discriminatedUnion('role', [
  z.strictObject({ role: z.literal('field'), field: name, ...tensorSpec }),
  z.strictObject({ role: z.literal('scores'), ...tensorSpec }),
  z.strictObject({ role: z.literal('rows'), ...group, ...tensorSpec }),
  z.strictObject({ role: z.literal('base_scores'), ...tensorSpec }),
  z.strictObject({ role: z.literal('contributions'), ...tensorSpec }),
  z.strictObject({ role: z.literal('own_contributions'), ...tensorSpec }),
  z.strictObject({ role: z.literal('attention'), part: name, ...tensorSpec }),
]);
const graphSchema = z.strictObject({ file: path, inputs: z.array(inputSchema), outputs: z.array(outputSchema) });

/** The schema of bundle.json. docs/wire-format.md explains its parts. */
export const manifestSchema = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string().regex(/^[a-z0-9-]{1,64}$/, 'must be 1 to 64 of a-z, 0-9 and -'),
  family: name,
  description: z.string().max(2_000),
  /**
   * Width of a cached key, and of a cached value: of one attention layer, or of all that a cache holds side by side.
   */
  dModel: count(16_384),
  /** Attention heads of that width. */
  heads: count(256),
  maxPositions: count(1_000_000),
  maxCandidates: count(10_000),
  items: z.strictObject({ file: path, count: count(100_000_000) }),
  actions: z.array(z.string().min(1)).min(1).max(1_024),
  features: z.strictObject({
    interaction: z.array(featureSchema).max(64),
    candidate: z.array(featureSchema).max(64),
    context: z.array(featureSchema).max(64),
  }),
  record: z.strictObject({
    fields: z.array(fieldSchema).min(1).max(64),
    /** Distinguishes encodings that are alike otherwise: records of another generation are built anew. Absent: 1. */
    generation: z.int().min(2).max(1_000_000).optional(),
  }),
  groups: z.array(groupSchema).min(1).max(32),
  clusterings: z.array(clusteringSchema).max(16).optional(),
  graphs: z.strictObject({
    encode: graphSchema,
    rank: graphSchema,
    rankKv: graphSchema,
    gather: graphSchema,
    explain: graphSchema.optional(),
    /**
     * The rank graph for a batch of users. It has the inputs of `rank`, each with one more axis in front: `users`.
     * Shorter inputs of a user end with zeros. A slot or cluster of count 0 weighs nothing. The rows of other history
     * axes have no counts, so for each such axis there is one input more, `row_count`: int64 [users]. Its output is
     * `scores`, float32 [users, candidates].
     */
    rankBatch: graphSchema.optional(),
  }),
  golden: z.strictObject({ tensors: path, served: path, tolerance: z.number().positive().max(0.01) }),
  files: z.array(
    z.strictObject({ path, bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be a sha256') }),
  ),
  training: z.strictObject({
    command: z.string(),
    metrics: z.record(z.string(), z.number()),
    /** How the histories of training use the slots of route fields: the positions of each slot, packed uint32. */
    slotUsage: z
      .array(z.strictObject({ field: name, file: path, positions: count(4_294_967_295) }))
      .max(64)
      .optional(),
  }),
});

/** A checked bundle.json. docs/wire-format.md explains its parts. */
export type Manifest = z.infer<typeof manifestSchema>;
/** Name of one of a bundle's graphs. */
export type GraphName = keyof Manifest['graphs'];
/** Name of a graph that every bundle has. */
export type RequiredGraphName = Exclude<GraphName, OptionalGraphName>;
/** Name of a graph that some bundles have. */
export type OptionalGraphName = (typeof OPTIONAL_GRAPH_NAMES)[number];
/** The file, inputs and outputs of a graph. */
export type GraphSpec = z.infer<typeof graphSchema>;
/** A graph's input. Its role says how it is filled. */
export type GraphInput = z.infer<typeof inputSchema>;
/** A graph's output. Its role says what it holds. */
export type GraphOutput = z.infer<typeof outputSchema>;
/** A field of a record's rows. */
export type RecordField = z.infer<typeof fieldSchema>;
/** A float32 feature with its default and its bounds. */
export type Feature = z.infer<typeof featureSchema>;
/** The cache of one attention layer: a key part and a value part. Without a value part it is a table of shared rows. */
export type KvGroup = z.infer<typeof groupSchema>;
/** A rule that puts each position into a cluster, and the terms of a position embedding. */
export type ClusteringSpec = z.infer<typeof clusteringSchema>;
/** One part of a KV group's pool. */
export type PoolPart = z.infer<typeof poolPart>;

/** The names of the graphs that every bundle has. */
export const GRAPH_NAMES = ['encode', 'rank', 'rankKv', 'gather'] as const satisfies readonly RequiredGraphName[];

/** The names of the graphs that some bundles have. */
export const OPTIONAL_GRAPH_NAMES = ['explain', 'rankBatch'] as const satisfies readonly GraphName[];

/** The names of all graphs that a bundle can have. */
export const ALL_GRAPH_NAMES = [...GRAPH_NAMES, ...OPTIONAL_GRAPH_NAMES] as const;

/** Returns the names of the graphs that a bundle has: those of {@link GRAPH_NAMES}, and some of the optional ones. */
export function graphNamesOf({ graphs }: Pick<Manifest, 'graphs'>): GraphName[] {
  return ALL_GRAPH_NAMES.filter((name) => graphs[name] !== undefined);
}

/** An input over a history's positions, oldest first. */
export type PositionInput = Extract<GraphInput, { role: 'routes' | 'user' | 'raw' }>;

/** True if the input has one entry per position. */
export function isPositionInput(input: GraphInput): input is PositionInput {
  return input.role === 'routes' || input.role === 'user' || input.role === 'raw';
}

/** An input that is computed by a clustering: its counts and means, or the embeddings of single positions. */
export type ClusterInput = Extract<GraphInput, { clustering: string }>;

/** True if the input is computed by a clustering. */
export function isClusterInput(input: GraphInput): input is ClusterInput {
  return 'clustering' in input;
}
