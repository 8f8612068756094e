import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ALL_GRAPH_NAMES,
  CkvError,
  counted,
  elementAt,
  type GraphName,
  TENSOR_ARRAYS,
  type Tensor,
  type Tensors,
} from '@collectivekv/domain';
import { z } from 'zod';
import type { OpenBundle } from './open-bundle.js';

/** A graph's inputs and the outputs that PyTorch computed from them. */
export interface GoldenCase {
  readonly graph: GraphName;
  readonly name: string;
  readonly inputs: Tensors;
  readonly outputs: Tensors;
}

const tensorSchema = z.strictObject({
  type: z.enum(['float32', 'float16', 'int64', 'int32', 'uint8']),
  shape: z.array(z.int().min(0)),
  offset: z.int().min(0),
  bytes: z.int().min(0),
});
const tensorsSchema = z.strictObject({
  file: z.string(),
  cases: z.array(
    z.strictObject({
      graph: z.enum(ALL_GRAPH_NAMES),
      name: z.string(),
      inputs: z.record(z.string(), tensorSchema),
      outputs: z.record(z.string(), tensorSchema),
    }),
  ),
});

const servedSchema = z.strictObject({
  cases: z.array(
    z.strictObject({
      name: z.string(),
      interactions: z.array(
        z.strictObject({
          itemId: z.string(),
          action: z.string(),
          timestampMs: z.int(),
          features: z.record(z.string(), z.number()),
        }),
      ),
      candidateIds: z.array(z.string()),
      candidateFeatures: z.record(z.string(), z.array(z.number())),
      contextFeatures: z.record(z.string(), z.number()),
      scores: z.array(z.number()),
    }),
  ),
});

/** A history, candidates, and the scores that PyTorch gave them. Services must answer the same scores. */
export type ServedCase = z.infer<typeof servedSchema>['cases'][number];

/** Reads a bundle's golden tensors. Throws bundle_invalid. */
export async function readGolden({ dir, model }: OpenBundle): Promise<GoldenCase[]> {
  const index = parse(tensorsSchema, await readFile(join(dir, model.manifest.golden.tensors), 'utf8'));
  if (!model.manifest.files.some((file) => file.path === index.file)) {
    throw new CkvError(
      'bundle_invalid',
      `golden: ${index.file} is not in files of bundle.json; export the bundle again`,
    );
  }
  const content = await readFile(join(dir, index.file));
  const read = (specs: Record<string, z.infer<typeof tensorSchema>>): Tensors =>
    Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, tensorFrom(content, name, spec)]));
  return index.cases.map(({ graph, name, inputs, outputs }) => ({
    graph,
    name,
    inputs: read(inputs),
    outputs: read(outputs),
  }));
}

/** Reads a bundle's golden requests. Throws bundle_invalid. */
export async function readServedGolden({ dir, model }: OpenBundle): Promise<ServedCase[]> {
  return parse(servedSchema, await readFile(join(dir, model.manifest.golden.served), 'utf8')).cases;
}

/**
 * Compares a graph's outputs with the golden ones.
 * @param tolerance largest difference, absolute up to 1 and relative above
 * @returns the first difference as text; empty if there is none
 */
export function goldenDifference(golden: Pick<GoldenCase, 'outputs'>, outputs: Tensors, tolerance: number): string {
  for (const [name, wanted] of Object.entries(golden.outputs)) {
    const got = outputs[name];
    if (got?.data.length !== wanted.data.length) {
      return `${name} has ${counted(got?.data.length ?? 0, 'element')}, not ${wanted.data.length}`;
    }
    for (let i = 0; i < wanted.data.length; i++) {
      const [is, should] = [elementAt(got, i), elementAt(wanted, i)];
      if (!(Math.abs(is - should) <= tolerance * Math.max(1, Math.abs(should)))) {
        return `${name}[${i}] is ${is}, but PyTorch gave ${should}`;
      }
    }
  }
  return '';
}

function tensorFrom(content: Buffer, name: string, spec: z.infer<typeof tensorSchema>): Tensor {
  const { type, shape, offset, bytes } = spec;
  const elementCount = shape.reduce((product, length) => product * length, 1);
  if (offset + bytes > content.length || bytes !== elementCount * TENSOR_ARRAYS[type].BYTES_PER_ELEMENT) {
    throw new CkvError('bundle_invalid', `golden: ${name} does not fit its file or its shape; export the bundle again`);
  }
  const copy = Uint8Array.from(content.subarray(offset, offset + bytes)).buffer;
  return { type, shape, data: new TENSOR_ARRAYS[type](copy) } as Tensor;
}

function parse<T>(schema: z.ZodType<T>, text: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new CkvError(
      'bundle_invalid',
      'golden: a file does not follow docs/wire-format.md; export the bundle again',
      {
        cause,
      },
    );
  }
}
