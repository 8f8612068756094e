import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle, loadBundle, rankScores, readServedGolden } from '@collectivekv/bundles';
import type { GatherRequest } from '@collectivekv/contracts';
import { assembleRank, type Candidates, CkvError, integers, type Tensors } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPoolRows, type PoolRows } from '../attention/pool-rows.js';
import { createExplainer, type ScoredRequest } from './explainer.js';
import { withoutPosition } from './position-contents.js';

const BUNDLES = fileURLToPath(new URL('../../../../test/fixtures/bundles', import.meta.url));
const NEVER = { deadlineMs: Number.POSITIVE_INFINITY, signal: new AbortController().signal };
const POSITIONS = 60;

let engine: Engine;
const loaded = new Map<string, LoadedBundle>();
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
});
afterAll(() => engine.close());

async function bundleOf(name: string): Promise<LoadedBundle> {
  const known = loaded.get(name);
  if (known) return known;
  const graphs = ['encode', 'rank', 'rankKv', 'gather', 'explain'] as const;
  const bundle = await loadBundle(join(BUNDLES, name), engine, { graphs, verifyGolden: true, poolTables: true });
  loaded.set(name, bundle);
  return bundle;
}

/** Returns a scored request of the golden interactions, repeated if they are too few. */
async function requestOf(
  bundle: LoadedBundle,
  positionCount = POSITIONS,
): Promise<ScoredRequest & { itemIds: string[] }> {
  const cases = await readServedGolden(bundle);
  const { interactions } = cases.reduce((a, b) => (b.interactions.length > a.interactions.length ? b : a));
  const history = Array.from({ length: positionCount }, (_, i) => {
    const one = interactions[i % interactions.length] ?? fail();
    return { ...one, userId: 'u', eventId: `e${i}` };
  });
  const rows = positionCount === 0 ? new Uint8Array(0) : await encodeRows(bundle, history);
  const { features } = bundle.model.manifest;
  const candidates: Candidates = {
    itemIndices: Int32Array.of(1, 7, 33),
    columns: Object.fromEntries(features.candidate.map(({ name }) => [name, Float32Array.of(0, 0.5, 1)])),
    context: Object.fromEntries(features.context.map((feature) => [feature.name, feature.default])),
  };
  const scores = await scoresOf(bundle, rows, candidates);
  return { bundle, rows, candidates, scores, limits: NEVER, itemIds: history.map(({ itemId }) => itemId) };
}

async function scoresOf(bundle: LoadedBundle, rows: Uint8Array, candidates: Candidates): Promise<Float32Array> {
  const feeds = assembleRank(bundle.model, rows, candidates, bundle.poolTables);
  return (await rankScores(bundle, 'rank', feeds, { partCandidates: 0 })).scores;
}

const explainer = createExplainer({ poolRows: undefined, explains: true });

describe.each([
  'target',
  'sim',
  'sdim',
  'eta',
  'twin',
  'factored',
  'factored_sim',
  'factored_sdim',
  'factored_stca',
  'residual',
  'full_fp16',
  'recompute',
])('with the explain graph of the bundle %s', (name) => {
  it.each([0, 1, POSITIONS])('the parts of a score of %i positions add up to it', async (positionCount) => {
    const request = await requestOf(await bundleOf(name), positionCount);
    const { method, candidates, groups } = await explainer.explain(request);
    expect(method).toBe('attention');
    expect(groups.length).toBe(positionCount);
    candidates.forEach(({ scoreWithoutHistory, contributions }, i) => {
      expect(contributions.length).toBe(positionCount);
      const sum = contributions.reduce((total, one) => total + one, scoreWithoutHistory);
      expect(Math.abs(sum - (request.scores[i] ?? 0))).toBeLessThan(1e-4);
    });
    if (positionCount > 1)
      expect(Math.max(...(candidates[0]?.contributions.map(Math.abs) ?? []))).toBeGreaterThan(1e-4);
  });

  it('shows the positions with the largest contributions, with the scores of a record without each', async () => {
    const request = await requestOf(await bundleOf(name));
    const { bundle, rows, candidates } = request;
    const explained = await explainer.explain(request);
    const heads = explained.parts.reduce((sum, { headCount }) => sum + headCount, 0);
    for (const [c, { positions, contributions }] of explained.candidates.entries()) {
      const sizes = [...contributions].map(Math.abs).sort((a, b) => b - a);
      expect(positions.map(({ contribution }) => Math.abs(contribution))).toEqual(sizes.slice(0, 10));
      for (const { index, attention, contribution, scoreWithout } of positions.slice(0, 3)) {
        expect(attention.length).toBe(heads);
        expect(contribution).toBe(contributions[index]);
        const scores = await scoresOf(bundle, withoutPosition(bundle.model.layout, rows, index), candidates);
        expect(Math.abs(scoreWithout - (scores[c] ?? 0))).toBeLessThan(1e-6);
      }
    }
  });
});

it('names the item and the slots of a position, and the group that attention reads it in', async () => {
  const request = await requestOf(await bundleOf('factored'));
  const { groups, candidates } = await explainer.explain(request);
  for (const { index, itemId, values } of candidates[0]?.positions ?? []) {
    expect(itemId).toBe(request.itemIds[index]);
    expect(values.map(({ field }) => field)).toEqual(['item', 'event']);
  }
  expect(new Set(groups).size).toBeGreaterThan(1);
  expect(new Set(groups).size).toBeLessThan(POSITIONS); // some positions share a cluster
});

it('divides contributions into a shared part and one of the user KV, which a factored pool does not have', async () => {
  const own = async (name: string) =>
    (await explainer.explain(await requestOf(await bundleOf(name)))).candidates.flatMap(
      ({ ownContributions, contributions }) =>
        [...ownContributions].map((one, i) => [one, contributions[i] ?? 0] as const),
    );
  expect((await own('factored')).every(([one]) => one === 0)).toBe(true);
  expect((await own('full_fp16')).every(([one, all]) => Math.abs(one - all) < 1e-6)).toBe(true);
  const target = await own('target');
  expect(target.some(([one]) => one !== 0) && target.some(([one, all]) => one !== all)).toBe(true);
});

describe('without an explain graph', () => {
  it.each([
    ['whose family has none', 'hstu', true],
    ['whose graph is not loaded', 'target', false],
  ])('the newest positions of a bundle %s are left out one by one', async (_, name, explains) => {
    const request = await requestOf(await bundleOf(name));
    const { method, parts, candidates } = await createExplainer({ poolRows: undefined, explains }).explain(request);
    expect([method, parts]).toEqual(['leave_one_out', []]);
    await expectLeftOut(request, candidates, 1e-6);
  });

  it('remote mode leaves positions out, and gathers pool rows once', async () => {
    const request = await requestOf(await bundleOf('target'));
    let gathers = 0;
    const inner = poolRowsOf(request.bundle);
    const poolRows: PoolRows = {
      ...inner,
      gather(...args) {
        gathers++;
        return inner.gather(...args);
      },
    };
    const { candidates } = await createExplainer({ poolRows, explains: false }).explain(request);
    await expectLeftOut(request, candidates, 1e-4);
    expect(gathers).toBe(1);
  });

  async function expectLeftOut(
    { bundle, rows, candidates }: ScoredRequest,
    explained: readonly {
      scoreWithoutHistory: number;
      positions: readonly { index: number; scoreWithout: number }[];
    }[],
    within: number,
  ) {
    const none = await scoresOf(bundle, new Uint8Array(0), candidates);
    for (const [c, { scoreWithoutHistory, positions }] of explained.entries()) {
      expect(Math.abs(scoreWithoutHistory - (none[c] ?? 0))).toBeLessThan(within);
      expect(positions.map(({ index }) => index)).toEqual(Array.from({ length: 10 }, (_, i) => POSITIONS - 1 - i));
      for (const { index, scoreWithout } of positions) {
        const scores = await scoresOf(bundle, withoutPosition(bundle.model.layout, rows, index), candidates);
        expect(Math.abs(scoreWithout - (scores[c] ?? 0))).toBeLessThan(within);
      }
    }
  }
});

it('refuses to answer with contributions that do not add up to the score', async () => {
  const request = await requestOf(await bundleOf('factored'));
  const scores = request.scores.map((score) => score + 2e-4);
  await expect(explainer.explain({ ...request, scores })).rejects.toMatchObject({
    reason: 'bug',
    message: expect.stringMatching(/add up to/),
  });
});

it('stops when the request has ended', async () => {
  const request = await requestOf(await bundleOf('factored'));
  let checks = 0;
  const over = new CkvError('deadline', 'the deadline passed');
  const limits = {
    ...NEVER,
    get ended() {
      return checks++ < 3 ? undefined : over;
    },
  };
  await expect(explainer.explain({ ...request, limits })).rejects.toBe(over);
  expect(checks).toBeLessThan(10);
});

/** Returns pool rows that a bundle's own gather graph gives, as the pool does. */
function poolRowsOf(bundle: LoadedBundle): PoolRows {
  const call = async (_: string, { group, keySlots, valueSlots }: GatherRequest) => {
    const { inputs, outputs } = bundle.model.manifest.graphs.gather;
    const feeds = inputs.map((input) => {
      if (input.role !== 'slots') fail();
      const packed = input.part === 'key' || (valueSlots?.length ?? 0) === 0 ? keySlots : valueSlots;
      const slots = input.group === group ? new Int32Array(new Uint8Array((packed as Uint8Array) ?? []).buffer) : [];
      return [input.name, integers('int64', slots, [slots.length])] as const;
    });
    const rows: Tensors = await bundle.graphs.run('gather', Object.fromEntries(feeds));
    const bytesOf = (part: 'key' | 'value') => {
      const output = outputs.find((one) => one.role === 'rows' && one.group === group && one.part === part);
      const data = rows[output?.name ?? '']?.data as Float32Array | undefined;
      return data ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.of();
    };
    return {
      bundleId: bundle.model.id,
      keyRows: bytesOf('key'),
      valueRows: (valueSlots?.length ?? 0) === 0 ? Buffer.of() : bytesOf('value'),
    };
  };
  return createPoolRows({ call } as unknown as Parameters<typeof createPoolRows>[0]);
}

function fail(): never {
  throw new Error('the fixture lacks something');
}
