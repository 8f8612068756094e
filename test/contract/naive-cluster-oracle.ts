// The models of the fixtures with clusterings again, in the plainest code: see naive-oracle.ts.
import {
  add,
  attend,
  attendHeads,
  best,
  embedEvent,
  type Matrix,
  type OracleRequest,
  type Row,
  reader,
  scoreOf,
  times,
  turned,
} from './naive-oracle.js';

/** A position as a record tells it: its embedding, and the name of its cluster. */
interface CodedPosition {
  readonly s: readonly number[];
  readonly cluster: string;
}

/** Codes an interaction with the catalogue index of an item and the embedding of an event, [g, h]. */
export type Coder = (p: Map<string, Matrix[]>, item: number, event: readonly number[]) => CodedPosition;

/**
 * Returns the coder of a factored pool.
 * @param clusterOf returns the name of the cluster of an item and an event code
 */
export function factoredCoder(clusterOf: (item: number, code: number) => string): Coder {
  return (p, item, event) => {
    const { matrix, vector, row } = reader(p);
    const code = best(add(times(event, matrix('event_router_weight')), vector('event_router_bias')));
    const coded = [...row('pool_events_key', code), ...row('pool_events_value', code)];
    return { s: turned(row('pool_items', item), coded), cluster: clusterOf(item, code) };
  };
}

/** Codes what is left of an embedding, stage by stage. */
export const residualCoder: Coder = (p, item, event) => {
  const { matrix, vector, row } = reader(p);
  let left: readonly number[] = turned(row('item_table', item), event);
  let s: readonly number[] = left.map(() => 0);
  const codes: number[] = [];
  for (let stage = 1; p.has(`pool_stage_${stage}`); stage++) {
    const code = best(add(times(left, matrix(`stage_${stage}_router_weight`)), vector(`stage_${stage}_router_bias`)));
    const chosen = row(`pool_stage_${stage}`, code);
    s = add(s, chosen);
    left = left.map((x, j) => x - (chosen[j] ?? 0));
    codes.push(code);
  }
  return { s, cluster: `${codes[0]}` };
};

/** A history as a candidate with the embedding `item` sees it. Returns what is mixed by the output projection. */
export type Attention = (
  p: Map<string, Matrix[]>,
  item: readonly number[],
  history: {
    /** Mean embeddings of the clusters, and their numbers of positions. */
    readonly means: readonly { readonly s: readonly number[]; readonly count: number }[];
    /** Their keys and values. */
    readonly clusters: readonly Row[];
    readonly positions: readonly Row[];
  },
) => number[];

/** Softmax over clusters and the null position. */
export const targetAttention: Attention = (p, item, { clusters }) => {
  const { vector } = reader(p);
  return attendHeads(p, item, [...clusters, [vector('null_key'), vector('null_value'), 1]]);
};

/**
 * Returns the attention of SDIM: clusters weighed by hash collisions, and softmax over the newest positions.
 * @param headWidth width of the heads of the short part
 * @param recent positions of the short part
 */
export function sdimAttention(headWidth: number, recent: number): Attention {
  return (p, item, { clusters, positions }) => {
    const { matrix, vector } = reader(p);
    const bitsPerHash = matrix('powers').length;
    const signs = (x: readonly number[]) => times(x, matrix('planes')).map((y) => y > 0);
    const query = signs(add(times(item, matrix('hash_query_weight')), vector('hash_query_bias')));
    let summed: readonly number[] = vector('null_value');
    let total = 1;
    for (const [key, value, count] of clusters) {
      const bits = signs(key);
      const hashes = bits.length / bitsPerHash;
      const equal = (from: number) => bits.slice(from, from + bitsPerHash).every((bit, i) => bit === query[from + i]);
      const collisions = Array.from({ length: hashes }, (_, h) => h * bitsPerHash).filter(equal).length;
      const weight = (count * collisions) / hashes;
      summed = add(
        summed,
        value.map((x) => weight * x),
      );
      total += weight;
    }
    return [...summed.map((x) => x / total), ...attendToNewest(p, item, positions.slice(-recent), headWidth)];
  };
}

/**
 * Returns the attention of SIM: softmax over the clusters that the search keeps, and over the newest positions.
 * @param topK positions that the search keeps
 */
export function simAttention(headWidth: number, recent: number, topK: number): Attention {
  return (p, item, { means, positions }) => {
    const { matrix, vector } = reader(p);
    const searchQuery = add(times(item, matrix('search_query_weight')), vector('search_query_bias'));
    const scored = means.map(({ s, count }) => ({ s, count, score: dot(searchQuery, s) }));
    scored.sort((a, b) => b.score - a.score);
    let keptCount = 0;
    let cut = Number.NEGATIVE_INFINITY;
    for (const { count, score } of scored) {
      if (keptCount < topK) cut = score;
      keptCount += count;
    }
    const kept = scored.filter(({ score }) => score >= cut - 1e-5 * Math.max(1, Math.abs(cut)));
    const nullLogits = add(times(item, matrix('kept_null_weight')), vector('kept_null_bias'));
    const ofHead = (name: string, h: number): Matrix => p.get(name)?.[h] ?? [];
    const long = nullLogits.flatMap((nullLogit, h) => {
      const query = add(times(item, ofHead('kept_query_weight', h)), ofHead('kept_query_bias', h)[0] ?? []);
      const weights = [...kept.map(({ s, count }) => count * Math.exp(dot(query, s))), Math.exp(nullLogit)];
      const total = weights.reduce((a, b) => a + b, 0);
      const share = (i: number) => (weights[i] ?? Number.NaN) / total;
      const mean = kept.reduce(
        (sum: readonly number[], { s }, i) =>
          add(
            sum,
            s.map((x) => x * share(i)),
          ),
        query.map(() => 0),
      );
      const value = add(times(mean, ofHead('kept_value_weight', h)), ofHead('kept_value_bias', h)[0] ?? []);
      return add(
        value,
        (ofHead('kept_null_value', h)[0] ?? []).map((x) => x * share(kept.length)),
      );
    });
    return [...long, ...attendToNewest(p, item, positions.slice(-recent), headWidth)];
  };
}

/** The short part: softmax over single positions and a null position of its own, in heads of `headWidth`. */
function attendToNewest(
  p: Map<string, Matrix[]>,
  item: readonly number[],
  newest: readonly Row[],
  headWidth: number,
): number[] {
  const { matrix, vector } = reader(p);
  const query = add(times(item, matrix('recent_query_weight')), vector('recent_query_bias'));
  const rows: Row[] = [...newest, [vector('recent_null_key'), vector('recent_null_value'), 1]];
  return Array.from({ length: query.length / headWidth }, (_, h) => {
    const part = (x: readonly number[]) => x.slice(h * headWidth, (h + 1) * headWidth);
    return attend(
      part(query).map((x) => x / Math.sqrt(headWidth)),
      rows.map(([key, value]): Row => [part(key), part(value), 1]),
    );
  }).flat();
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
}

/** The attention of STCA: layer by layer over clusters, each with its part of the keys and values. */
export const stcaAttention: Attention = (p, item, { clusters }) => {
  const { matrix, vector } = reader(p);
  const linear = (x: readonly number[], name: string) =>
    add(times(x, matrix(`${name}_weight`)), vector(`${name}_bias`));
  const outputs: number[] = [];
  for (let depth = 0; p.has(`layer${depth}_query_weight`); depth++) {
    const prefix = `layer${depth}_`;
    const [nullKey, nullValue] = [vector(`${prefix}null_key`), vector(`${prefix}null_value`)];
    const part = (x: readonly number[]) => x.slice(depth * nullKey.length, (depth + 1) * nullKey.length);
    let x = item;
    if (depth > 0) {
      const seen = [...item, ...outputs];
      const up = linear(seen, `${prefix}up`);
      const gated = linear(seen, `${prefix}gate`).map((gate, i) => (gate / (1 + Math.exp(-gate))) * (up[i] ?? 0));
      x = add(item, linear(gated, `${prefix}down`));
    }
    const rows = clusters.map(([key, value, count]): Row => [part(key), part(value), count]);
    outputs.push(...attendHeads(p, x, [...rows, [nullKey, nullValue, 1]], prefix));
  }
  return outputs;
};

/** How a bundle codes positions, and how its candidates attend to them. */
export interface ClusteredModel {
  readonly coder: Coder;
  readonly attention: Attention;
}

/** Returns the score of each candidate, a probability, by attention over the cluster means of a history. */
export function clusterOracleScores(
  p: Map<string, Matrix[]>,
  { interactions, itemIndices, candidates, hour }: OracleRequest,
  actions: readonly string[],
  { coder, attention }: ClusteredModel,
): number[] {
  const { matrix, vector, row } = reader(p);
  const coded = interactions.map((interaction, i) =>
    coder(p, itemIndices[i] ?? 0, embedEvent(p, interaction, actions)),
  );
  const clusters = new Map<string, (readonly number[])[]>();
  for (const { s, cluster } of coded) clusters.set(cluster, [...(clusters.get(cluster) ?? []), s]);
  const rowOf = (s: readonly number[], count: number): Row => {
    const part = (name: string) => add(times(s, matrix(`cluster_${name}_weight`)), vector(`cluster_${name}_bias`));
    return [part('key'), part('value'), count];
  };
  const means = [...clusters.values()].map((members) => {
    const sum = members.reduce((a, b) => add(a, b));
    return { s: sum.map((x) => x / members.length), count: members.length };
  });
  const history = {
    means,
    clusters: means.map(({ s, count }) => rowOf(s, count)),
    positions: coded.map(({ s }) => rowOf(s, 1)),
  };
  return candidates.map(({ item: index, freshness }) => {
    const item = row('item_table', index);
    return scoreOf(p, { item, attended: attention(p, item, history), freshness, hour });
  });
}
