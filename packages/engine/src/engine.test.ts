import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { CkvError, type Tensors } from '@collectivekv/domain';
import { afterEach, describe, expect, it } from 'vitest';
import { createEngine } from './engine.js';
import type { Engine, EngineOptions } from './engine-options.js';
import type { Batching } from './run-queue.js';

const gatherOf = (bundle: string) => ({
  gather: { path: fileURLToPath(new URL(`../../../${bundle}/gather.onnx`, import.meta.url)) },
});
const GATHER = gatherOf('test/fixtures/bundles/target');
const slotsOf = (names: readonly string[], values: readonly number[]): Tensors => {
  const tensor = () => ({ type: 'int64', data: BigInt64Array.from(values, BigInt), shape: [values.length] }) as const;
  return Object.fromEntries(names.map((name) => [name, tensor()]));
};
const slots = (...values: number[]) =>
  slotsOf(['history_key_slots', 'history_value_slots', 'user_key_slots', 'user_value_slots'], values);

/** Joins runs of the gather graph: one run gathers the slots of all. */
const JOINED_SLOTS: Batching = {
  graph: 'gather',
  mostUsers: 32,
  extentOf: () => [],
  cellCountOf: (extents) => extents.length,
  open() {
    let left = 32;
    return { add: () => left-- > 0 };
  },
  join: (feeds) => slots(...feeds.flatMap(({ user_key_slots: tensor }) => Array.from(tensor?.data ?? [], Number))),
  split: (outputs, feeds) =>
    feeds.map((_, i) => {
      const rows = Object.entries(outputs).map(([name, { type, data, shape }]) => {
        const width = data.length / feeds.length;
        return [name, { type, data: data.slice(i * width, (i + 1) * width), shape: [1, ...shape.slice(1)] }] as const;
      });
      return Object.fromEntries(rows) as Tensors;
    }),
};

let engine: Engine | undefined;
afterEach(async () => {
  await engine?.close();
  engine = undefined;
});

async function start(options: Partial<EngineOptions> = {}): Promise<Engine> {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 4, ...options });
  return engine;
}

describe('engine', () => {
  it('runs a graph, and takes empty inputs', async () => {
    const graphs = await (await start()).load(GATHER);
    const { history_key_rows: rows } = await graphs.run('gather', slots(3, 3, 255));
    expect(rows?.shape).toEqual([3, 32]);
    expect(rows?.data.slice(0, 32)).toEqual(rows?.data.slice(32, 64));
    expect((await graphs.run('gather', slots())).history_key_rows?.shape).toEqual([0, 32]);
  });

  it('is hungry until every worker has a run and the next', async () => {
    const graphs = await (await start({ workerCount: 2 })).load(GATHER);
    const hungry = [engine?.hungry];
    const runs: Promise<Tensors>[] = [];
    for (let i = 0; i < 5; i++) {
      runs.push(graphs.run('gather', slots(i)));
      hungry.push(engine?.hungry);
    }
    expect(hungry).toEqual([true, true, true, true, false, false]);
    await Promise.all(runs);
    expect(engine?.hungry).toBe(true);
  });

  it('tells the time of each run by the name of its graph', async () => {
    const runs: { graph: string; seconds: number }[] = [];
    const graphs = await (await start({ onRun: (graph, seconds) => runs.push({ graph, seconds }) })).load(GATHER);
    expect(runs).toEqual([]); // loading is no run
    await graphs.run('gather', slots(1));
    await expect(graphs.run('gather', {})).rejects.toMatchObject({ reason: 'bug' });
    expect(runs).toEqual([{ graph: 'gather', seconds: expect.any(Number) }]);
    expect(engine).toMatchObject({ device: 'cpu', precision: 'float32' });
  });

  it('carries every element type; half precision travels as its bits', async () => {
    const path = fileURLToPath(new URL('../../../test/fixtures/element-types.onnx', import.meta.url));
    const graphs = await (await start()).load({ types: { path } });
    const half = Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001); // 1, -2, the largest, the smallest
    const feeds: Tensors = {
      half: { type: 'float16', data: half, shape: [4] },
      ints: { type: 'int32', data: Int32Array.of(-1, 2), shape: [2] },
      bytes: { type: 'uint8', data: Uint8Array.of(0, 255), shape: [2] },
    };
    const outputs = await graphs.run('types', structuredClone(feeds));
    expect(outputs.half_out).toEqual(feeds.half);
    expect(outputs.ints_out).toEqual(feeds.ints);
    expect(outputs.bytes_out).toEqual(feeds.bytes);
    expect([...(outputs.single?.data ?? [])]).toEqual([1, -2, 65_504, 2 ** -24]);
  });

  it('attends over no positions, although a fused transpose would end the process', async () => {
    const path = fileURLToPath(new URL('../../../test/fixtures/no-positions.onnx', import.meta.url));
    const graphs = await (await start()).load({ attention: { path } });
    const ones = (count: number) => ({
      type: 'float32' as const,
      data: new Float32Array(count * 8).fill(1),
      shape: [count, 2, 4],
    });
    const attend = async (positions: number) => {
      const { attended } = await graphs.run('attention', {
        query: ones(3),
        key: ones(positions),
        value: ones(positions),
      });
      return [...(attended?.data ?? [])];
    };
    expect(await attend(5)).toEqual(Array(24).fill(20));
    expect(await attend(0)).toEqual(Array(24).fill(0));
  });

  it('shares a backlog between workers and answers each caller its own rows', async () => {
    const graphs = await (await start({ workerCount: 2, queueLimit: 100 })).load(GATHER);
    const wanted = Array.from({ length: 60 }, (_, i) => i);
    const alone = await graphs.run('gather', slots(...wanted));
    const rows = await Promise.all(wanted.map((slot) => graphs.run('gather', slots(slot))));
    rows.forEach((answer, i) => {
      expect(answer.history_key_rows?.data).toEqual(alone.history_key_rows?.data.slice(i * 32, (i + 1) * 32));
    });
  });

  it('refuses a run beyond the limit, and says when to try again', async () => {
    const graphs = await (await start({ queueLimit: 2 })).load(GATHER);
    const runs = await Promise.allSettled(Array.from({ length: 10 }, () => graphs.run('gather', slots(1))));
    const reasons = runs.flatMap((run) => (run.status === 'rejected' ? [run.reason as CkvError] : []));
    expect(reasons).toHaveLength(6); // the worker has two, two wait
    for (const error of reasons)
      expect(error).toMatchObject({ reason: 'overloaded', retryAfterMs: expect.any(Number) });
  });

  it('skips a run whose deadline passed or whose caller left while it waited', async () => {
    const graphs = await (await start()).load(GATHER);
    const past = graphs.run('gather', slots(1), { deadlineMs: Date.now() - 1 });
    await expect(past).rejects.toMatchObject({ reason: 'deadline' });
    const limits: { ended?: CkvError } = {};
    const busy = [1, 2].map((slot) => graphs.run('gather', slots(slot)));
    const left = graphs.run('gather', slots(3), limits);
    limits.ended = new CkvError('cancelled', 'the caller gave up');
    await expect(left).rejects.toMatchObject({ reason: 'cancelled' });
    expect(await Promise.all(busy)).toHaveLength(2);
  });

  it('frees the place of a run whose caller left', async () => {
    const graphs = await (await start({ queueLimit: 1 })).load(GATHER);
    const given = [graphs.run('gather', slots(1)), graphs.run('gather', slots(2))];
    const limits: { ended?: CkvError } = {};
    const left = graphs.run('gather', slots(3), limits);
    limits.ended = new CkvError('cancelled', 'the caller gave up');
    const [, next] = await Promise.allSettled([left, graphs.run('gather', slots(4)), ...given]);
    expect(next).toMatchObject({ status: 'fulfilled' });
    await expect(left).rejects.toMatchObject({ reason: 'cancelled' });
  });

  it.each([3, 1])('runs parts that share a large tensor on %i worker(s)', async (workerCount) => {
    const started = await start({ workerCount, queueLimit: 8 });
    const graphs = await started.load(GATHER);
    expect(graphs.idleWorkerCount).toBe(workerCount);
    const shared = slots(...Array.from({ length: 10_000 }, (_, i) => i % 256)).history_key_slots; // large enough to be transferred
    const parts = [1, 2, 3].map((slot) => ({ ...slots(slot), history_key_slots: shared as Tensors[string] }));
    const answers = graphs.runEach('gather', parts);
    expect(graphs.idleWorkerCount).toBe(0);
    const alone = await Promise.all([1, 2, 3].map((slot) => graphs.run('gather', slots(slot))));
    (await answers).forEach((answer, i) => {
      expect(answer.history_key_rows?.shape).toEqual([10_000, 32]);
      expect(answer.user_key_rows?.data).toEqual(alone[i]?.user_key_rows?.data);
    });
    expect(graphs.idleWorkerCount).toBe(workerCount);
  });

  it('rejects every run that is not finished when the engine closes', async () => {
    const graphs = await (await start()).load(GATHER);
    const runs = Array.from({ length: 4 }, () => graphs.run('gather', slots(1)));
    const outcomes = Promise.allSettled(runs);
    await engine?.close();
    const reasons = (await outcomes).map((run) => (run.status === 'rejected' ? run.reason.reason : 'done'));
    expect(reasons.slice(1)).toEqual(['draining', 'draining', 'draining']);
    await expect(graphs.run('gather', slots(1))).rejects.toMatchObject({ reason: 'draining' });
  });

  it('reports feeds that onnxruntime refuses, and goes on', async () => {
    const graphs = await (await start()).load(GATHER);
    await expect(graphs.run('gather', {})).rejects.toMatchObject({
      reason: 'bug',
      message: expect.stringMatching(/gather/),
    });
    await expect(graphs.run('gather', slots(100_000))).rejects.toMatchObject({ reason: 'bug' });
    expect((await graphs.run('gather', slots(1))).history_key_rows?.shape).toEqual([1, 32]);
  });

  it('refuses a file that is not a graph', async () => {
    const started = await start();
    await expect(started.load({ gather: { path: '/nowhere.onnx' } })).rejects.toMatchObject({
      reason: 'bundle_invalid',
    });
  });

  it('refuses a graph that was not loaded with the others', async () => {
    const graphs = await (await start()).load(GATHER);
    await expect(graphs.run('rank', slots(1))).rejects.toMatchObject({
      reason: 'bug',
      message: 'graph rank was not loaded',
    });
  });

  it('finishes every run of a graph set that closes, and refuses later ones', async () => {
    const graphs = await (await start()).load(GATHER);
    const runs = [1, 2, 3, 4].map((slot) => graphs.run('gather', slots(slot))); // two of them wait
    const closing = graphs.close();
    await expect(graphs.run('gather', slots(5))).rejects.toMatchObject({ reason: 'draining' });
    expect((await Promise.all(runs)).map((answer) => answer.history_key_rows?.shape[0])).toEqual([1, 1, 1, 1]);
    await closing;
    await expect(graphs.run('gather', slots(5))).rejects.toMatchObject({ reason: 'draining' });
  });

  it('replaces a worker that died, although the files of a failed load are gone', async () => {
    const threads: Worker[] = [];
    const collect = (thread: Worker) => threads.push(thread);
    process.on('worker', collect);
    const deaths: unknown[] = [];
    const started = await start({ onWorkerDeath: (error) => deaths.push(error) });
    const graphs = await started.load(GATHER);
    process.off('worker', collect);
    const dir = await mkdtemp(join(tmpdir(), 'ckv-engine-'));
    const types = join(dir, 'types.onnx');
    await copyFile(fileURLToPath(new URL('../../../test/fixtures/element-types.onnx', import.meta.url)), types);
    const failed = started.load({ types: { path: types }, none: { path: join(dir, 'none.onnx') } });
    await expect(failed).rejects.toMatchObject({ reason: 'bundle_invalid' });
    await rm(dir, { recursive: true });

    expect(threads).toHaveLength(1);
    await threads[0]?.terminate();
    await expect.poll(() => graphs.idleWorkerCount, { timeout: 10_000 }).toBe(1);
    expect((await graphs.run('gather', slots(1))).history_key_rows?.shape).toEqual([1, 32]);
    expect(deaths).toHaveLength(1);
    await started.close();
    expect(deaths).toHaveLength(1);
  });

  it('joins runs that wait into one, but no parts of a run', async () => {
    const users: number[] = [];
    const onBatch = (userCount: number) => users.push(userCount);
    const graphs = await (await start({ queueLimit: 100, onBatch })).load(GATHER);
    graphs.joinRuns('gather', JOINED_SLOTS);
    const wanted = Array.from({ length: 40 }, (_, i) => i);
    const rows = await Promise.all(wanted.map((slot) => graphs.run('gather', slots(slot))));
    expect(users).toEqual([32, 6]); // the worker has two runs before others wait
    const alone = await graphs.runEach(
      'gather',
      wanted.map((slot) => slots(slot)),
    );
    expect(users).toEqual([32, 6]);
    expect(rows).toEqual(alone);
  });

  it('knows the most users of a run until the graphs are closed', async () => {
    const started = await start();
    const sets = [await started.load(GATHER), await started.load(GATHER)];
    expect([started.mostUsers, sets[0]?.mostUsers]).toEqual([1, 1]);
    sets[0]?.joinRuns('gather', JOINED_SLOTS);
    expect([started.mostUsers, sets[0]?.mostUsers, sets[1]?.mostUsers]).toEqual([32, 32, 1]);
    await sets[0]?.close();
    expect(started.mostUsers).toBe(1);
  });

  it('drops one graph and keeps the others', async () => {
    const started = await start();
    const graphs = await started.load({ ...GATHER, other: GATHER.gather });
    await graphs.drop('other');
    await expect(graphs.run('other', slots(1))).rejects.toMatchObject({ message: 'graph other was not loaded' });
    expect((await graphs.run('gather', slots(1))).history_key_rows?.shape).toEqual([1, 32]);
  });

  it('takes background runs on the spare worker, although the queue of requests is full', async () => {
    const graphs = await (await start({ queueLimit: 1, spare: true })).load(GATHER);
    const runs = [1, 2, 3].map((slot) => graphs.run('gather', slots(slot)));
    await expect(graphs.run('gather', slots(4))).rejects.toMatchObject({ reason: 'overloaded' });
    const background = [5, 6, 7].map((slot) => graphs.run('gather', slots(slot), { background: true }));
    expect(graphs.idleWorkerCount).toBe(0);
    await Promise.all([...runs, ...background]);
    expect(graphs.idleWorkerCount).toBe(1);
  });

  it('takes background runs like others without a spare worker', async () => {
    const graphs = await (await start({ queueLimit: 1 })).load(GATHER);
    const runs = [1, 2, 3].map((slot) => graphs.run('gather', slots(slot)));
    const background = graphs.run('gather', slots(4), { background: true });
    await expect(background).rejects.toMatchObject({ reason: 'overloaded' });
    await Promise.all(runs);
  });

  it('runs every loaded set on every worker, whichever is the spare one', async () => {
    const started = await start({ spare: true, queueLimit: 64 });
    const sets = [await started.load(GATHER), await started.load(GATHER), await started.load(GATHER)];
    for (const set of sets) {
      for (const background of [false, true]) {
        expect((await set.run('gather', slots(1), { background })).history_key_rows?.shape).toEqual([1, 32]);
      }
    }
    const [first, ...others] = sets;
    await first?.close();
    for (const set of others) expect((await set.run('gather', slots(1))).history_key_rows?.shape).toEqual([1, 32]);
  });

  it('names the graph whose warm-up fails', async () => {
    const loading = (await start({ spare: true })).load(GATHER, { warmUps: [{ graph: 'gather', feeds: {} }] });
    await expect(loading).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringMatching(/^graph gather does not load: /),
    });
  });

  it.skipIf(existsSync('/dev/nvidia0'))('refuses a provider that is missing, and says what to install', async () => {
    const loading = start({ provider: 'cuda' }).then((started) => started.load(GATHER));
    await expect(loading).rejects.toMatchObject({
      reason: 'provider_missing',
      message: expect.stringMatching(/copy libonnxruntime_providers_cuda\.so/),
    });
  });

  it('needs no more memory after many loads and closes', async () => {
    const started = await start();
    const loadAndClose = async () => {
      const graphs = await started.load(gatherOf('bundles/demo'));
      await graphs.run('gather', slotsOf(['items_key_slots', 'events_key_slots', 'events_value_slots'], [1]));
      await graphs.close();
    };
    for (let i = 0; i < 20; i++) await loadAndClose();
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 60; i++) await loadAndClose();
    expect((process.memoryUsage.rss() - before) / 1e6).toBeLessThan(40); // the pool alone is 0.6 MB a load
  });
});
