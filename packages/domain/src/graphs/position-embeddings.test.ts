import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { BundleModel } from '../bundle/bundle-model.js';
import { factoredManifest, factoredModel } from '../bundle/factored.fixture.js';
import { CkvError } from '../errors.js';
import { float32 } from '../tensor.js';
import { assembleRank, assembleRankKv } from './assemble.js';
import {
  factoredScene,
  gatheredRows,
  gatheredTables,
  naiveEmbedding,
  poolTables,
  rowsOf,
  type Scene,
  scenes,
  simdTables,
  wholeTables,
} from './cluster-scenes.fixture.js';
import { positionEmbeddings } from './position-embeddings.js';

let factored: Scene;
beforeEach(() => {
  factored = factoredScene();
});

describe('positionEmbeddings', () => {
  it.each([
    ['whole tables', wholeTables],
    ['tables in the memory of SIMD code', simdTables],
    ['gathered rows', gatheredTables],
  ])('gives the embeddings of a naive sum, in the order of the positions, from %s', (_, sourceOf) => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const { model } = scene;
        const found = positionEmbeddings(model, rowsOf(scene), model.clustering('history'), sourceOf(scene));
        const wanted = scene.positions.flatMap((position) => naiveEmbedding(scene, position));
        expect(found.length).toBe(wanted.length);
        wanted.forEach((x, i) => {
          expect(Math.abs((found[i] ?? Number.NaN) - x)).toBeLessThanOrEqual(1e-5 * (1 + Math.abs(x)));
        });
      }),
      { numRuns: 200 },
    );
  });

  it('refuses a route beyond its pool', () => {
    const beyond = { ...factored, positions: [{ item: 1, event: 9 }] };
    const embeddings = () =>
      positionEmbeddings(factored.model, rowsOf(beyond), factored.model.clustering('history'), wholeTables(factored));
    expect(embeddings).toThrow(new CkvError('record_corrupt', "a row's event is 9, the pool has 3 slots"));
  });
});

describe('a rank graph with position embeddings', () => {
  const candidates = {
    itemIndices: Int32Array.of(1, 0),
    columns: { freshness: Float32Array.of(0.1, 0.2) },
    context: { hour: 9 },
  };
  /** The embeddings of items 5, 1, 4 and 3: item * (1 + g) + h. */
  const EMBEDDINGS = [
    [50 * (1 + 0.25) + 3, 51 * (1 + 0.5) + 4],
    [10 * (1 + 0.75) + 5, 11 * (1 + 1) + 6],
    [40 * (1 + 0.75) + 5, 41 * (1 + 1) + 6],
    [30 * (1 + 0.75) + 5, 31 * (1 + 1) + 6],
  ];

  /** Returns the model of the factored fixture whose graphs also take the embeddings of all or the last positions. */
  function modelWith(last: { last?: number }, maxPositions = 1000): BundleModel {
    const manifest = { ...factoredManifest(), maxPositions };
    for (const graph of [manifest.graphs.rank, manifest.graphs.rankKv]) {
      graph.inputs.push({
        name: 'embeddings',
        role: 'position_embeddings',
        clustering: 'history',
        ...last,
        type: 'float32',
        shape: ['positions', 2],
      });
    }
    return factoredModel(manifest);
  }

  it.each([
    ['every position', {}, 4],
    ['the last three positions', { last: 3 }, 3],
    ['every position of a shorter history', { last: 9 }, 4],
  ])('gets those of %s, oldest first, from tables and from gathered rows', (_, last, count) => {
    const scene = { ...factored, model: modelWith(last) };
    const wanted = float32(Float32Array.from(EMBEDDINGS.slice(-count).flat()), [count, 2]);
    expect(assembleRank(scene.model, rowsOf(scene), candidates, poolTables(scene)).embeddings).toEqual(wanted);
    expect(assembleRankKv(scene.model, rowsOf(scene), gatheredRows(scene), candidates).embeddings).toEqual(wanted);
  });

  it('gets none for an empty history', () => {
    const scene = { ...factored, model: modelWith({ last: 3 }), positions: [] };
    const none = float32(new Float32Array(0), [0, 2]);
    expect(assembleRank(scene.model, rowsOf(scene), candidates, poolTables(scene)).embeddings).toEqual(none);
    expect(assembleRankKv(scene.model, rowsOf(scene), gatheredRows(scene), candidates).embeddings).toEqual(none);
  });

  it('throws a bug without its tables', () => {
    const { model } = { model: modelWith({}) };
    expect(() => assembleRank(model, rowsOf(factored), candidates)).toThrow(
      'the pool tables of clustering history were not read',
    );
  });
});

describe('the memory of SIMD code', () => {
  /** Returns a bundle whose rank graph takes position embeddings of width 16 and nothing else of its clustering. */
  function wideModel(last: { last?: number }): BundleModel {
    const manifest = { ...factoredManifest({ width: 16 }), maxPositions: 5_000 };
    manifest.graphs.rank.inputs = [
      ...manifest.graphs.rank.inputs.filter(({ role }) => !role.startsWith('cluster_')),
      { name: 'x', role: 'position_embeddings', clustering: 'history', ...last, type: 'float32', shape: [] },
    ];
    return factoredModel(manifest);
  }

  it.each([
    ['all positions of the longest history', {}, 5_000, 20_000],
    ['no more than the last positions', { last: 20 }, 20, 5_000],
  ])('has room for the embeddings of %s', (_, last, count, tooMany) => {
    const wide = new Map([...factored.tables].map(([name, rows]) => [name, rows.map(([x = 0]) => Array(16).fill(x))]));
    const scene = { ...factored, model: wideModel(last), tables: wide };
    const { simd, table } = simdTables(scene);
    const begun: boolean[] = [];
    const watched = simd && {
      ...simd,
      begin: (bytes: number, width: number) => {
        const fits = simd.begin(bytes, width);
        begun.push(fits);
        return fits;
      },
    };
    for (const length of [count, tooMany]) {
      const positions = Array.from({ length }, (_, i) => ({ item: i % 6, event: i % 3 }));
      const rows = rowsOf({ ...scene, positions });
      const found = positionEmbeddings(scene.model, rows, scene.model.clustering('history'), { table, simd: watched });
      expect(found.length).toBe(16 * length);
    }
    expect(begun).toEqual([true, false]);
  });
});
