import { fileURLToPath } from 'node:url';
import { assembleRank, float32, type Tensors } from '@collectivekv/domain';
import { createEngine, type Engine, type GraphSet } from '@collectivekv/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadBundle } from './load-bundle.js';
import type { LoadedBundle } from './loaded-bundle.js';
import { rankScores } from './rank-scores.js';

const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));
const CANDIDATES = 30;
/** Golden vectors of the bundle's rank graph, all with several candidates. */
const RANK_CASES = 3;
let engine: Engine;
let target: LoadedBundle;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 3, threadsPerWorker: 1, queueLimit: 16 });
  target = await loadBundle(TARGET, engine, { graphs: ['rank'], verifyGolden: true });
});
afterAll(() => engine.close());

function feeds(): Tensors {
  const { model } = target;
  const rows = Uint8Array.from({ length: 200 * model.layout.strideBytes }, (_, i) => (i * 37) % 251);
  const { candidate, context } = model.manifest.features;
  return assembleRank(model, rows, {
    itemIndices: Int32Array.from({ length: CANDIDATES }, (_, i) => i * 3),
    columns: Object.fromEntries(
      candidate.map(({ name }) => [name, Float32Array.from({ length: CANDIDATES }, (_, i) => i / 60)]),
    ),
    context: Object.fromEntries(context.map((feature) => [feature.name, feature.default])),
  });
}

/** A bundle's graphs, and the number of parts of each call. */
function counted({ graphs }: LoadedBundle, idleWorkerCount: number) {
  const partCounts: number[] = [];
  const watched: GraphSet = {
    ...graphs,
    idleWorkerCount,
    runEach(graph, parts, limits) {
      partCounts.push(parts.length);
      return graphs.runEach(graph, parts, limits);
    },
  };
  return { partCounts, graphs: watched };
}

describe('rankScores', () => {
  it.each([
    ['a part for each idle worker', { idle: 3, partCandidates: 5, parts: 3 }],
    ['only parts of the fewest candidates or more', { idle: 3, partCandidates: 12, parts: 2 }],
    ['one part if no worker is idle', { idle: 0, partCandidates: 5, parts: 1 }],
    ['one part if splitting is off', { idle: 3, partCandidates: 0, parts: 1 }],
    ['one part of too few candidates', { idle: 3, partCandidates: 31, parts: 1 }],
  ])('makes %s, and gives the same scores', async (_, { idle, partCandidates, parts }) => {
    const { scores: whole } = await rankScores(target, 'rank', feeds(), { partCandidates: 0 });
    const { graphs, partCounts } = counted(target, idle);
    const { scores, partCount } = await rankScores({ ...target, graphs }, 'rank', feeds(), { partCandidates });
    expect(partCounts).toEqual([parts]);
    expect(partCount).toBe(parts);
    expect(scores).toHaveLength(CANDIDATES);
    expect(new Set(whole).size).toBe(CANDIDATES);
    scores.forEach((score, i) => {
      expect(score).toBeCloseTo(whole[i] ?? Number.NaN, 5);
    });
  });

  it('never splits the candidates of a bundle that does not allow it', async () => {
    const { graphs, partCounts } = counted(target, 3);
    await rankScores({ ...target, graphs, splitsCandidates: false }, 'rank', feeds(), { partCandidates: 5 });
    expect(partCounts).toEqual([1]);
  });

  it.each([
    ['too few scores', [0.5], /answered 1 scores for 30/],
    ['NaN', Array(CANDIDATES).fill(Number.NaN), /NaN/],
  ])('reports a bug if the graph answers %s', async (_, scores, message) => {
    const answer = { scores: float32(Float32Array.from(scores), [scores.length]) };
    const graphs: GraphSet = { ...target.graphs, idleWorkerCount: 1, runEach: async () => [answer] };
    const failure = rankScores({ ...target, graphs }, 'rank', feeds(), { partCandidates: 5 });
    await expect(failure).rejects.toMatchObject({ reason: 'bug', message: expect.stringMatching(message) });
  });
});

describe('a bundle', () => {
  it('may be split if its golden scores are the same in parts', () => {
    expect(target.splitsCandidates).toBe(true);
  });

  it('may not be split without a golden vector of several candidates', async () => {
    const bundle = await loadBundle(TARGET, engine, { graphs: ['gather'], verifyGolden: true });
    expect(bundle.splitsCandidates).toBe(false);
    await bundle.close();
  });

  it.each([
    ['every golden vector has', () => true],
    ['one golden vector has', (call: number) => call === 0],
    ['the last golden vector has', (call: number) => call === RANK_CASES - 1],
  ])('may not be split if %s other scores in parts', async (_, isListwise) => {
    let calls = 0;
    const listwise: Engine = {
      ...engine,
      async load(files) {
        const graphs = await engine.load(files);
        return {
          ...graphs,
          async runEach(graph, parts) {
            const factor = isListwise(calls++) ? 0.5 : 1;
            return Promise.all(parts.map((part) => scaledScores(graphs, graph, part, factor)));
          },
        };
      },
    };
    const bundle = await loadBundle(TARGET, listwise, { graphs: ['rank'], verifyGolden: true });
    expect(calls).toBe(RANK_CASES);
    expect(bundle.splitsCandidates).toBe(false);
    await bundle.close();
  });
});

/** Runs a graph and scales its scores, as if they depended on the number of candidates. */
async function scaledScores(graphs: GraphSet, graph: string, part: Tensors, factor: number): Promise<Tensors> {
  const { scores } = await graphs.run(graph, part);
  const data = Float32Array.from(scores?.data as Float32Array, (score) => score * factor);
  return { scores: float32(data, [data.length]) };
}
