import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The graphs and weights that training/bench_gpu.py wrote. Shapes: M pool rows, D width of keys, E of embeddings. */
export interface GpuModel {
  readonly dir: string;
  readonly slots: number; // M
  /** The gathered arm's pool has every row so many times. */
  readonly repeats: number;
  readonly dModel: number; // D
  readonly embedding: number; // E
  /** Items of the catalogue, without the unknown one. */
  readonly items: number;
  readonly poolEmbedding: Float32Array; // [M, E]
  /** Keys and values of the pool, and the null position's as row M. */
  readonly keys: Float32Array; // [M + 1, D]
  readonly values: Float32Array; // [M + 1, D]
}

interface About {
  readonly sizes: Readonly<Record<'slots' | 'repeats' | 'd_model' | 'embedding' | 'items', number>>;
  readonly arrays: Readonly<Record<string, { readonly offset: number; readonly shape: readonly number[] }>>;
}

/**
 * Reads a model.
 * @throws Error if the folder is not one that training/bench_gpu.py wrote
 */
export function readGpuModel(dir: string): GpuModel {
  const { sizes, arrays } = JSON.parse(readFileSync(join(dir, 'about.json'), 'utf8')) as About;
  const content = Uint8Array.from(readFileSync(join(dir, 'arrays.bin'))).buffer;
  const array = (name: string) => {
    const { offset, shape } = arrays[name] ?? {};
    if (offset === undefined || !shape) throw new Error(`${dir} has no ${name}; make it with training/bench_gpu.py`);
    return new Float32Array(
      content,
      offset,
      shape.reduce((product, length) => product * length, 1),
    );
  };
  const withNull = (part: 'key' | 'value') => Float32Array.from([...array(`pool_${part}`), ...array(`null_${part}`)]);
  return {
    dir,
    slots: sizes.slots,
    repeats: sizes.repeats,
    dModel: sizes.d_model,
    embedding: sizes.embedding,
    items: sizes.items,
    poolEmbedding: array('pool_embedding'),
    keys: withNull('key'),
    values: withNull('value'),
  };
}
