import { CkvError, type Interaction, REASONS, type Reason } from '@collectivekv/domain';
import { readIds, writeIds } from '@collectivekv/rpc';
import { z } from 'zod';
import type { Rung } from '../degradation.js';
import { bytesOf, floatsFrom } from '../packed.js';
import type { HistoryPolicy, RankQuery } from '../rank-query.js';

/** The software and hardware that computed scores. On another, scores may differ by rounding. */
export interface CaptureEnvironment {
  /** Version of the ranking service. */
  readonly service: string;
  readonly onnxruntime: string;
  /** Architecture and model of the processor. */
  readonly processor: string;
  readonly provider: 'cpu' | 'cuda' | 'webgpu';
  /** Precision of matrix products. */
  readonly precision: 'float32' | 'tf32';
  readonly threadsPerWorker: number;
  readonly poolMode: 'replica' | 'remote';
}

/** All that the scores of a request depend on, and the scores. */
export interface Capture {
  readonly captureId: string;
  /** Unix ms. */
  readonly takenAtMs: number;
  readonly environment: CaptureEnvironment;
  readonly bundleId: string;
  readonly encodingId: string;
  readonly query: Pick<
    RankQuery,
    'userId' | 'candidateIds' | 'candidateFeatures' | 'contextFeatures' | 'recentInteractions' | 'historyPolicy'
  >;
  /** As in RankBasis. */
  readonly recordBytes: Uint8Array | undefined;
  readonly recordMissing: Reason | undefined;
  readonly rowsMissing: Reason | undefined;
  /** Graph runs that scored the candidates, each a part of them. */
  readonly partCount: number;
  readonly answer: {
    readonly scores: Float32Array; // [candidates]
    readonly positionCount: number;
    readonly rung: Rung;
  };
}

const bytesSchema = z.base64().transform((text) => Buffer.from(text, 'base64'));
const floatsSchema = bytesSchema
  .refine(({ length }) => length % 4 === 0, 'is not packed float32')
  .transform(floatsFrom);
const reasonSchema = z.enum(Object.keys(REASONS) as [Reason, ...Reason[]]).optional();
const columnsSchema = z.array(z.object({ name: z.string(), values: floatsSchema }));
const interactionSchema = z
  .object({
    eventId: z.string(),
    itemId: z.string(),
    timestampMs: z.number(),
    action: z.string(),
    featureNames: z.array(z.string()),
    featureValues: bytesSchema, // float64: JSON would write -0 as 0
  })
  .transform(({ featureNames, featureValues, ...interaction }) => ({
    ...interaction,
    features: Object.fromEntries(featureNames.map((name, i) => [name, featureValues.readDoubleLE(8 * i)])),
  }));
const captureSchema = z.object({
  captureId: z.string(),
  takenAtMs: z.number(),
  environment: z.object({
    service: z.string(),
    onnxruntime: z.string(),
    processor: z.string(),
    provider: z.enum(['cpu', 'cuda', 'webgpu']),
    precision: z.enum(['float32', 'tf32']).default('float32'), // absent in captures of earlier versions
    threadsPerWorker: z.number().int().min(1).max(64),
    poolMode: z.enum(['replica', 'remote']),
  }),
  bundleId: z.string().regex(/^[0-9a-f]{16}$/),
  encodingId: z.string(),
  query: z.object({
    userId: z.string(),
    candidateIds: z
      .object({ text: bytesSchema, lengths: bytesSchema })
      .transform((column) => readIds(column, 'candidateIds')),
    candidateFeatures: columnsSchema,
    contextFeatures: columnsSchema,
    recentInteractions: z.array(interactionSchema),
    historyPolicy: z.enum(['preferred', 'required', 'ignored'] satisfies HistoryPolicy[]),
  }),
  recordBytes: bytesSchema.optional(),
  recordMissing: reasonSchema,
  rowsMissing: reasonSchema,
  partCount: z.number().int().min(1).max(10_000),
  answer: z.object({
    scores: floatsSchema,
    positionCount: z.number(),
    rung: z.enum(['full', 'recent_only', 'no_history'] satisfies Rung[]),
  }),
});

/** Returns a capture as JSON. Packed numbers, ids and the record are base64. */
export function writeCapture(capture: Capture): Buffer {
  const { query, recordBytes, answer } = capture;
  const { text, lengths } = writeIds(query.candidateIds);
  const columns = (all: RankQuery['candidateFeatures']) =>
    all.map(({ name, values }) => ({ name, values: base64(bytesOf(values)) }));
  const json = {
    ...capture,
    query: {
      userId: query.userId,
      candidateIds: { text: base64(text), lengths: base64(lengths) },
      candidateFeatures: columns(query.candidateFeatures),
      contextFeatures: columns(query.contextFeatures),
      recentInteractions: query.recentInteractions.map(interactionJson),
      historyPolicy: query.historyPolicy,
    },
    recordBytes: recordBytes && base64(recordBytes),
    answer: { ...answer, scores: base64(bytesOf(answer.scores)) },
  };
  return Buffer.from(JSON.stringify(json));
}

/**
 * Reads a capture.
 * @param path names its file in errors
 * @throws invalid_request for JSON that is no capture
 */
export function readCapture(path: string, json: Uint8Array): Capture {
  try {
    const { query, ...capture } = captureSchema.parse(JSON.parse(Buffer.from(json).toString()));
    const recent: Interaction[] = query.recentInteractions.map((one) => ({ ...one, userId: query.userId }));
    return {
      ...capture,
      recordBytes: capture.recordBytes,
      recordMissing: capture.recordMissing,
      rowsMissing: capture.rowsMissing,
      query: { ...query, recentInteractions: recent },
    };
  } catch (cause) {
    const problem =
      cause instanceof z.ZodError ? `${cause.issues[0]?.path.join('.')}: ${cause.issues[0]?.message}` : '';
    const why = problem === '' ? 'is no capture' : `is no capture of this version (${problem})`;
    throw new CkvError('invalid_request', `${path}: ${why}; name a file that ranking wrote`, { field: path, cause });
  }
}

/** Returns about how many bytes the file of a capture has. */
export function estimateBytes({
  query,
  recordBytes,
  answer,
}: Pick<Capture, 'query' | 'recordBytes' | 'answer'>): number {
  const columns = [...query.candidateFeatures, ...query.contextFeatures];
  const features = columns.reduce((sum, { values }) => sum + values.byteLength, 0);
  const ids = query.candidateIds.to(query.candidateIds.length - 1) + 4 * query.candidateIds.length;
  const packed = features + ids + answer.scores.byteLength + (recordBytes?.length ?? 0);
  return 2_048 + Math.ceil(packed * (4 / 3)) + 64 * columns.length + 1_024 * query.recentInteractions.length;
}

function interactionJson({ eventId, itemId, timestampMs, action, features }: Interaction) {
  const values = Buffer.alloc(8 * Object.keys(features).length);
  Object.values(features).forEach((value, i) => {
    values.writeDoubleLE(value, 8 * i);
  });
  return { eventId, itemId, timestampMs, action, featureNames: Object.keys(features), featureValues: base64(values) };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
