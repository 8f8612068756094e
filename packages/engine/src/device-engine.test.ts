import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import type { Tensors } from '@collectivekv/domain';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createDeviceEngine } from './device-engine.js';
import type { Engine } from './engine-options.js';
import type { GraphSet } from './graph-set.js';

/** The graph runs on the CPU here. What is tested is which thread holds it. */
const GATHER = {
  gather: { path: fileURLToPath(new URL('../../../test/fixtures/bundles/target/gather.onnx', import.meta.url)) },
};
const slots = (...values: number[]): Tensors => {
  const names = ['history_key_slots', 'history_value_slots', 'user_key_slots', 'user_value_slots'];
  const tensor = () => ({ type: 'int64', data: BigInt64Array.from(values, BigInt), shape: [values.length] }) as const;
  return Object.fromEntries(names.map((name) => [name, tensor()]));
};
const shapeOf = async (run: Promise<Tensors>) => (await run).history_key_rows?.shape;

let threads: Worker[];
let ended: number;
let deaths: unknown[];
let engine: Engine;
const collect = (thread: Worker) => {
  threads.push(thread);
  thread.on('exit', () => ended++);
};
beforeEach(() => {
  threads = [];
  ended = 0;
  deaths = [];
  process.on('worker', collect);
  engine = createDeviceEngine({
    provider: 'cpu',
    workerCount: 1,
    threadsPerWorker: 1,
    spare: true,
    queueLimit: 2,
    onWorkerDeath: (error) => deaths.push(error),
  });
});
afterEach(async () => {
  process.off('worker', collect);
  await engine.close();
});

it('holds the graphs of a load in one thread, which ends with them', async () => {
  const first = await engine.load(GATHER);
  expect(threads).toHaveLength(1);
  const second = await engine.load(GATHER);
  expect(threads).toHaveLength(2);
  await first.close();
  expect(ended).toBe(1);
  expect(await shapeOf(second.run('gather', slots(1, 2)))).toEqual([2, 32]);
  await expect(first.run('gather', slots(1))).rejects.toMatchObject({ reason: 'draining' });
});

it('serves a set while another is loaded', async () => {
  const first = await engine.load(GATHER);
  let loaded = false;
  const second = engine.load(GATHER, { warmUps: [{ graph: 'gather', feeds: slots(1) }] }).then((set) => {
    loaded = true;
    return set;
  });
  expect(await shapeOf(first.run('gather', slots(1)))).toEqual([1, 32]);
  expect(loaded).toBe(false);
  expect(await shapeOf((await second).run('gather', slots(1)))).toEqual([1, 32]);
});

it('ends the thread of a load that fails', async () => {
  await expect(engine.load({ gather: { path: '/nowhere.onnx' } })).rejects.toMatchObject({ reason: 'bundle_invalid' });
  expect([threads.length, ended]).toEqual([1, 1]);
  expect(await shapeOf((await engine.load(GATHER)).run('gather', slots(1)))).toEqual([1, 32]);
});

it('is hungry while nothing waits and a thread has room; takes background runs like others', async () => {
  const sets = [await engine.load(GATHER), await engine.load(GATHER)];
  const [busy, idle] = sets;
  const runs = [1, 2].map((slot) => busy?.run('gather', slots(slot)));
  expect([engine.hungry, engine.queuedCount, busy?.idleWorkerCount, idle?.idleWorkerCount]).toEqual([true, 0, 0, 1]);
  runs.push(busy?.run('gather', slots(3), { background: true }));
  expect([engine.hungry, engine.queuedCount]).toEqual([false, 1]);
  await Promise.all(runs);
  expect([engine.hungry, engine.queuedCount]).toEqual([true, 0]);
});

it('joins runs of one bundle alone', async () => {
  const [joined, other] = [await engine.load({ ...GATHER, batch: GATHER.gather }), await engine.load(GATHER)];
  joined.joinRuns('gather', {
    graph: 'batch',
    mostUsers: 8,
    extentOf: () => [],
    cellCountOf: (extents) => extents.length,
    open: () => ({ add: () => true }),
    join: () => slots(1, 2),
    split: (outputs, feeds) => feeds.map(() => outputs),
  });
  expect([engine.mostUsers, joined.mostUsers, other.mostUsers]).toEqual([8, 8, 1]);
  const shapes = (set: GraphSet) => Promise.all([1, 2, 3, 4].map((slot) => shapeOf(set.run('gather', slots(slot)))));
  expect(await shapes(joined)).toEqual([
    [1, 32],
    [1, 32],
    [2, 32],
    [2, 32],
  ]);
  expect(await shapes(other)).toEqual(Array(4).fill([1, 32]));
  await joined.drop('batch');
  await expect(joined.run('batch', slots(1))).rejects.toMatchObject({ message: 'graph batch was not loaded' });
  await joined.close();
  expect(engine.mostUsers).toBe(1);
});

it('replaces the thread that died, and no other', async () => {
  const [first, second] = [await engine.load(GATHER), await engine.load(GATHER)];
  await threads[0]?.terminate();
  expect(await shapeOf(second.run('gather', slots(1)))).toEqual([1, 32]);
  await expect.poll(() => first.idleWorkerCount, { timeout: 10_000 }).toBe(1);
  expect(await shapeOf(first.run('gather', slots(1)))).toEqual([1, 32]);
  expect([threads.length, deaths.length]).toEqual([3, 1]);
});

it('ends all threads when it closes, and loads no more', async () => {
  await engine.load(GATHER);
  await engine.load(GATHER);
  await engine.close();
  expect(ended).toBe(2);
  await expect(engine.load(GATHER)).rejects.toMatchObject({ reason: 'draining' });
});
