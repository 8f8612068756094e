// Target attention over a pool of keys and values, in the plainest code: position by position, in float64. The
// parameters come from the files of the bundle. Graphs and assembly must give the same scores.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Interaction } from '@collectivekv/domain';
import protobuf from 'protobufjs';

/** Rows of numbers. */
export type Matrix = readonly (readonly number[])[];

/** A rank request to the oracle. */
export interface OracleRequest {
  readonly interactions: readonly Pick<Interaction, 'action' | 'features'>[];
  /** Catalogue index of every interaction's item. */
  readonly itemIndices: readonly number[];
  readonly candidates: readonly { readonly item: number; readonly freshness: number }[];
  readonly hour: number;
}

const SCHEMA = `syntax = "proto3";
message Model { Graph graph = 7; }
message Graph { repeated Tensor initializer = 5; }
message Tensor { repeated int64 dims = 1; int32 data_type = 2; string name = 8; bytes raw_data = 9; repeated Entry external_data = 13; }
message Entry { string key = 1; string value = 2; }`;

interface TensorMessage {
  readonly dims: number[];
  readonly dataType: number;
  readonly name: string;
  readonly rawData: Buffer;
  readonly externalData: { key: string; value: string }[];
}

/** Reads the float32 parameters of a bundle's graphs, by name. */
export function readParameters(bundleDir: string): Map<string, Matrix[]> {
  const model = protobuf.parse(SCHEMA).root.lookupType('Model');
  const parameters = new Map<string, Matrix[]>();
  for (const file of ['encode/encode.onnx', 'rank.onnx', 'gather.onnx']) {
    const path = join(bundleDir, file);
    const decoded = model.toObject(model.decode(readFileSync(path)), {
      longs: Number,
      defaults: true,
    });
    for (const tensor of (decoded as { graph: { initializer: TensorMessage[] } }).graph.initializer) {
      if (tensor.dataType === 1) parameters.set(tensor.name, valuesOf(tensor, dirname(path)));
    }
  }
  return parameters;
}

/**
 * Returns a tensor as a list of matrices. A vector is one matrix of one row. External data is in the graph's folder.
 */
function valuesOf({ dims, rawData, externalData }: TensorMessage, folder: string): Matrix[] {
  const external = new Map(externalData.map(({ key, value }) => [key, value]));
  const location = external.get('location');
  const offset = Number(external.get('offset') ?? 0);
  const bytes = location
    ? readFileSync(join(folder, location)).subarray(offset, offset + Number(external.get('length')))
    : Buffer.from(rawData);
  const [matrices, rows, columns] = [dims.at(-3) ?? 1, dims.at(-2) ?? 1, dims.at(-1) ?? 1];
  const at = (m: number, r: number, c: number) => bytes.readFloatLE(4 * ((m * rows + r) * columns + c));
  return Array.from({ length: matrices }, (_, m) =>
    Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => at(m, r, c))),
  );
}

/** Returns the score of each candidate, a probability, by attention over the positions of a history. */
export function oracleScores(
  p: Map<string, Matrix[]>,
  { interactions, itemIndices, candidates, hour }: OracleRequest,
  actions: readonly string[],
): number[] {
  const { matrix, vector, row } = reader(p);

  // encode: interaction -> a route and a code. Each is the index of the largest score of a linear function.
  const positions = interactions.map((interaction, i) => {
    const item = row('item_table', itemIndices[i] ?? 0);
    const event = embedEvent(p, interaction, actions);
    const s = turned(item, event);
    const route = best(add(times(s, matrix('route_router_weight')), vector('route_router_bias')));
    const user = add(times(s, matrix('history_user_weight')), vector('history_user_bias')).map(Math.tanh);
    const code = best(add(times(user, matrix('user_code_codes')), vector('user_code_bias')));
    return { route, code };
  });
  const rows = positions.map(({ route }): Row => [row('pool_history_key', route), row('pool_history_value', route), 1]);
  const userRows = positions.map(({ code }): Row => [row('pool_user_key', code), row('pool_user_value', code), 1]);
  rows.push([vector('null_key'), vector('null_value'), 1]);
  userRows.push([vector('history_user_null_key'), vector('history_user_null_value'), 1]);

  return candidates.map(({ item: index, freshness }) => {
    const item = row('item_table', index);
    const userQuery = add(times(item, matrix('history_user_query_weight')), vector('history_user_query_bias'));
    return scoreOf(p, {
      item,
      attended: [...attendHeads(p, item, rows), ...attend(userQuery, userRows)],
      freshness,
      hour,
    });
  });
}

/** A key, its value, and the number of positions with both. */
export type Row = readonly [key: readonly number[], value: readonly number[], count: number];

export function reader(p: Map<string, Matrix[]>) {
  const matrix = (name: string): Matrix => p.get(name)?.[0] ?? fail(name);
  const row = (name: string, i: number): readonly number[] => matrix(name)[i] ?? fail(name);
  return { matrix, vector: (name: string) => row(name, 0), row };
}

/** Embeds the action and the features of an interaction. */
export function embedEvent(
  p: Map<string, Matrix[]>,
  { action, features }: OracleRequest['interactions'][number],
  actions: readonly string[],
): number[] {
  const { matrix, row } = reader(p);
  const watch = Math.min(1, Math.max(0, features.watch_ratio ?? 0.5));
  return add(
    row('action_table', Math.max(0, actions.indexOf(action))),
    times([watch, watch * watch], matrix('interaction_features_weight')),
  );
}

/** Returns item * (1 + g) + h for an event [g, h]. */
export function turned(item: readonly number[], event: readonly number[]): number[] {
  return item.map((x, j) => x * (1 + (event[j] ?? 0)) + (event[item.length + j] ?? 0));
}

/** Attends over rows, each head with its part of the keys and values. `prefix` begins the parameters' names. */
export function attendHeads(
  p: Map<string, Matrix[]>,
  x: readonly number[],
  rows: readonly Row[],
  prefix = '',
): number[] {
  const queryWeights = p.get(`${prefix}query_weight`) ?? fail(`${prefix}query_weight`);
  const width = (rows[0]?.[0].length ?? 0) / queryWeights.length;
  return queryWeights.flatMap((matrix, h) => {
    // The graph needs a constant last column in each head's query matrix. The oracle does not.
    const weights = matrix.map((one) => one.slice(0, width));
    const bias = p.get(`${prefix}query_bias`)?.[h]?.[0] ?? fail(`${prefix}query_bias`);
    const query = add(times(x, weights), bias.slice(0, width));
    const part = (values: readonly number[]) => values.slice(h * width, (h + 1) * width);
    return attend(
      query,
      rows.map(([key, value, count]): Row => [part(key), part(value), count]),
    );
  });
}

/** Mixes what a candidate attended to with the candidate and the context. */
export function scoreOf(
  p: Map<string, Matrix[]>,
  candidate: {
    readonly item: readonly number[];
    readonly attended: readonly number[];
    readonly freshness: number;
    readonly hour: number;
  },
): number {
  const { item, attended, freshness, hour } = candidate;
  const { matrix, vector } = reader(p);
  const out = add(times(attended, matrix('out_weight')), vector('out_bias'));
  const angle = (hour * 2 * Math.PI) / 24;
  const context = times([Math.sin(angle), Math.cos(angle)], matrix('mix_context_weight'));
  const mixed = [...out, ...out.map((x, i) => x * (item[i] ?? 0)), ...item, freshness];
  const hidden = relu(add(add(times(mixed, matrix('mix_weight')), vector('mix_bias')), context));
  const deep = relu(add(times(hidden, matrix('deep_weight')), vector('deep_bias')));
  const logit = (times(deep, matrix('score_weight'))[0] ?? 0) + (vector('score_bias')[0] ?? 0);
  return 1 / (1 + Math.exp(-logit));
}

/** Returns softmax attention of one query over keys and values. The query contains the scale. */
export function attend(query: readonly number[], rows: readonly Row[]): number[] {
  const logits = rows.map(
    ([key, , count]) => Math.log(count) + query.reduce((sum, q, i) => sum + q * (key[i] ?? 0), 0),
  );
  const largest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const [, first = []] = rows[0] ?? [];
  return first.map((_, i) =>
    rows.reduce((sum, [, value], j) => sum + ((weights[j] ?? 0) / total) * (value[i] ?? 0), 0),
  );
}

export function times(x: readonly number[], weights: Matrix): number[] {
  const columns = weights[0]?.length ?? 0;
  return Array.from({ length: columns }, (_, c) =>
    x.reduce((sum, value, r) => sum + value * (weights[r]?.[c] ?? 0), 0),
  );
}

export function add(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value + (b[i] ?? 0));
}

export function best(scores: readonly number[]): number {
  return scores.indexOf(Math.max(...scores));
}

function relu(x: readonly number[]): number[] {
  return x.map((value) => Math.max(0, value));
}

function fail(name: string): never {
  throw new Error(`the bundle has no parameter ${name}`);
}
