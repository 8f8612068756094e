import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Tensors } from '@collectivekv/domain';
import { type Batching, createEngine, type Engine, type GraphSet } from '@collectivekv/engine';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { goldenDifference, readGolden } from './golden.js';
import { type JoinOptions, joinUsers } from './join-users.js';
import { loadBundle } from './load-bundle.js';
import { openBundle } from './open-bundle.js';
import type { Timer } from './time-users.js';

const BUNDLES = fileURLToPath(new URL('../../../test/fixtures/bundles/', import.meta.url));
const TARGET = `${BUNDLES}target`;
/** Its positions attend to each other, so it has no graph for batches. */
const HSTU = `${BUNDLES}hstu`;

/** Users of each batch; below 0 if it failed. */
let batches: number[];
let engine: Engine;
beforeEach(async () => {
  batches = [];
  engine = await createEngine({
    provider: 'cpu',
    workerCount: 1,
    threadsPerWorker: 1,
    queueLimit: 100,
    onBatch: (userCount, failed) => batches.push(failed ? -userCount : userCount),
  });
});
afterEach(() => engine.close());

/** Loads the graphs of a bundle and decides how many users share a run. */
async function join(dir: string, options: Partial<JoinOptions>) {
  const { graphs } = await loadBundle(dir, engine, { graphs: ['rank', 'rankBatch'], verifyGolden: false });
  const joined = await joinUsers(await openBundle(dir), graphs, { batchUsers: 'auto', device: 'cpu', ...options });
  return { graphs, joined };
}

const rankCases = async (dir: string) =>
  (await readGolden(await openBundle(dir))).filter(({ graph }) => graph === 'rank');

/** Runs the graph `rank` for many equal users at once. */
const rankEqual = (graphs: GraphSet, feeds: Tensors, count: number) =>
  Promise.all(Array.from({ length: count }, () => graphs.run('rank', structuredClone(feeds))));

describe('auto on the CPU', () => {
  /** Does all work. Says that it took these times, ms: those of a batch and of single runs in turn. */
  function timerOf(...times: number[]): Timer {
    const left = times.values();
    return async (work) => {
      await work();
      return left.next().value ?? Number.NaN;
    };
  }

  it('joins eight users if their batch takes at most 80 % of the time of their single runs', async () => {
    const { graphs, joined } = await join(TARGET, { timer: timerOf(12, 18, 8, 12, 9, 10, 9, 12, 9, 12) });
    expect(joined).toEqual({ mostUsers: 8, because: 'measured', times: { batchMs: 8, singleMs: 10 } });
    const [largest] = (await rankCases(TARGET)).slice(-1);
    await rankEqual(graphs, largest?.inputs ?? {}, 20);
    expect(batches).toEqual([8, 8, 2]);
  });

  it('joins none otherwise, and frees the graph', async () => {
    const { graphs, joined } = await join(TARGET, { timer: timerOf(12, 18, 8.1, 12, 9, 10, 9, 12, 9, 12) });
    expect(joined).toEqual({ mostUsers: 1, because: 'measured', times: { batchMs: 8.1, singleMs: 10 } });
    expect(engine.mostUsers).toBe(1);
    await expect(graphs.run('rankBatch', {})).rejects.toMatchObject({ message: 'graph rankBatch was not loaded' });
  });

  it('times the largest golden vector, in a batch and alone in turn', async () => {
    const timed: unknown[] = [];
    const timer: Timer = async (work) => {
      const outputs = (await work()) as Tensors[] | undefined;
      timed.push(outputs?.map(({ scores }) => scores?.shape[0]) ?? 'a batch');
      return 1;
    };
    await join(TARGET, { timer });
    expect(timed).toEqual(
      Array(5)
        .fill(['a batch', Array(8).fill(100)])
        .flat(1),
    );
  });

  it('measures by the clock', async () => {
    const { times } = (await join(TARGET, {})).joined;
    expect(times?.batchMs).toBeGreaterThan(0);
    expect(times?.singleMs).toBeGreaterThan(0);
  });
});

const untimed: Timer = () => {
  throw new Error('nothing is measured');
};

it('auto joins 64 users on a device', async () => {
  const { joined } = await join(TARGET, { device: 'cuda:0', timer: untimed });
  expect(joined).toEqual({ mostUsers: 64, because: 'device' });
  expect(engine.mostUsers).toBe(64);
});

it('a number is the most users of a run', async () => {
  const { graphs, joined } = await join(TARGET, { batchUsers: 5, timer: untimed });
  expect(joined).toEqual({ mostUsers: 5, because: 'configured' });
  const [first] = await rankCases(TARGET);
  await rankEqual(graphs, first?.inputs ?? {}, 12);
  expect(batches).toEqual([5, 5]);
});

it.each(['auto', 64] as const)('%s joins none of a bundle without the graph', async (batchUsers) => {
  const { joined } = await join(HSTU, { batchUsers, timer: untimed });
  expect(joined).toEqual({ mostUsers: 1, because: 'no_graph' });
  expect(engine.mostUsers).toBe(1);
});

it.each([
  ['cpu', 1_000, 8],
  ['cpu', 10, 64],
  ['cuda:0', 1_000, 64],
  ['cuda:0', 10_000, 4],
])(
  'on %s, %i rows and 1,000 candidates leave room for %i users: the logits of 4 heads are bounded',
  async (device, rows, users) => {
    const { graphs } = await loadBundle(TARGET, engine, { graphs: ['rank', 'rankBatch'], verifyGolden: false });
    const batchings: Batching[] = [];
    const watched: GraphSet = { ...graphs, joinRuns: (_, batching) => batchings.push(batching) };
    await joinUsers(await openBundle(TARGET), watched, { batchUsers: 64, device });
    const batch = batchings[0]?.open();
    const fits = Array.from({ length: 100 }, () => batch?.add([1_000, rows]));
    expect(fits.filter(Boolean)).toHaveLength(users);
  },
);

describe.each(readdirSync(BUNDLES).filter((name) => `${BUNDLES}${name}` !== HSTU))('a batch of %s', (name) => {
  it.each(['cpu', 'cuda:0'])('gives each user the scores of PyTorch (bounds of %s)', async (device) => {
    const dir = `${BUNDLES}${name}`;
    const { graphs } = await join(dir, { batchUsers: 64, device });
    const { tolerance } = (await openBundle(dir)).model.manifest.golden;
    const golden = await rankCases(dir);
    const cases = Array.from({ length: 10 }, () => golden).flat(); // mixed lengths, in turn
    const outputs = await Promise.all(cases.map(({ inputs }) => graphs.run('rank', structuredClone(inputs))));
    expect(cases.map((one, i) => goldenDifference(one, outputs[i] ?? {}, tolerance))).toEqual(cases.map(() => ''));
    expect(Math.max(...batches)).toBeGreaterThan(1);
    expect(Math.min(...batches)).toBeGreaterThan(0);
  });
});

describe('a loaded bundle', () => {
  it('joins users as it was asked to', async () => {
    const bundle = await loadBundle(TARGET, engine, { graphs: ['rank'], verifyGolden: true, batchUsers: 16 });
    expect(bundle.joinedUsers).toEqual({ mostUsers: 16, because: 'configured' });
    expect(engine.mostUsers).toBe(16);
    await bundle.close();
  });

  it.each([
    ['with one user a run', { graphs: ['rank'], batchUsers: 1 }],
    ['by default', { graphs: ['rank'] }],
    ['without the graph rank', { graphs: ['rankKv'], batchUsers: 16 }],
  ] as const)('joins none %s, and has no graph for it', async (_, options) => {
    const bundle = await loadBundle(TARGET, engine, { ...options, verifyGolden: true });
    expect(bundle.joinedUsers).toBeUndefined();
    await expect(bundle.graphs.run('rankBatch', {})).rejects.toMatchObject({
      message: 'graph rankBatch was not loaded',
    });
    await bundle.close();
  });
});
