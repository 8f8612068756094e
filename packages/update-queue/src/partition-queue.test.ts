import { describe, expect, it } from 'vitest';
import { inspectQueue } from './inspection.js';
import { interactionOf, PARTITION_COUNT, useQueue } from './queue.fixture.js';

const queue = useQueue();
const failed = () =>
  inspectQueue({ client: queue.operator(), keyPrefix: 'ckv', partitionCount: PARTITION_COUNT }).failed(99);
const active = () => queue.client().lrange(queue.key('active'), 0, -1);

/** Queues `count` jobs. Returns their ids, oldest first. */
async function enqueue(count: number): Promise<string[]> {
  const producer = queue.produce();
  for (let n = 0; n < count; n++) await producer.enqueue([interactionOf(n)]);
  return (await queue.client().lrange(queue.key('wait'), 0, -1)).reverse();
}

describe('take', () => {
  it('reads the fields of a job', async () => {
    const [id = ''] = await enqueue(1);
    const timestamp = await queue.client().hget(queue.key(id), 'timestamp');
    expect(await (await queue.consume()).take(1)).toEqual([
      {
        id,
        name: 'record',
        payload: { version: 1, interactions: [interactionOf(0)] },
        queuedAtMs: Number(timestamp),
        progress: 0,
      },
    ]);
    expect(Number(timestamp)).toBeGreaterThan(1_700_000_000_000);
  });

  it.each([
    ['7', 7],
    ['-3', 0],
    ['1.5', 0],
    ['"x"', 0],
    ['', 0],
  ])('reads the progress %j as %i', async (stored, progress) => {
    const [id = ''] = await enqueue(1);
    await queue.client().hset(queue.key(id), 'progress', stored);
    expect(await (await queue.consume()).take(1)).toMatchObject([{ progress }]);
  });

  it('reads a job without options, without data and without a name', async () => {
    const [id = ''] = await enqueue(1);
    await queue.client().hdel(queue.key(id), 'opts', 'data', 'name');
    const consumer = await queue.consume();
    const jobs = await consumer.take(5);
    expect(jobs).toMatchObject([{ name: '', payload: {} }]);
    await consumer.complete(jobs);
    expect(await active()).toEqual([]);
  });

  it('sets every unreadable job aside, with its unreadable fields, and gives the others', async () => {
    const [a = '', b = '', c = '', d = ''] = await enqueue(5);
    await queue.client().hset(queue.key(a), 'data', 'NaN');
    await queue.client().hset(queue.key(b), { data: '{', opts: 'no' });
    await queue.client().hset(queue.key(c), 'progress', '[');
    await queue.client().hset(queue.key(d), 'stacktrace', 'text');
    const jobs = await (await queue.consume()).take(9);
    expect(jobs.map(({ payload }) => payload)).toEqual([
      { version: 1, interactions: [interactionOf(3)] }, // nobody reads the stack trace of a job that runs
      { version: 1, interactions: [interactionOf(4)] },
    ]);
    const problemOf = (fields: string) => `invalid_request: ${fields}: is not JSON; send JSON, which has no NaN`;
    const aside = (await failed()).map(({ problem, payload }) => [problem, payload]);
    expect(aside).toHaveLength(3);
    expect(aside).toEqual(
      expect.arrayContaining([
        [problemOf('data'), { unreadable: { data: 'NaN' } }],
        [problemOf('data, opts'), { unreadable: { data: '{', opts: 'no' } }],
        [problemOf('progress'), { unreadable: { progress: '[' } }],
      ]),
    );
  });
});

it('sets a job with null for options aside, which BullMQ could not list', async () => {
  const [id = ''] = await enqueue(2);
  await queue.client().hset(queue.key(id), 'opts', 'null');
  expect(await (await queue.consume()).take(9)).toHaveLength(1);
  expect(await failed()).toMatchObject([{ payload: { unreadable: { opts: 'null' } } }]);
});

it.each(['{}', '{"removeOnFail": true}'])('sets an unreadable job with the options %s aside', async (opts) => {
  const [id = ''] = await enqueue(2);
  await queue.client().hset(queue.key(id), { data: 'NaN', opts });
  const consumer = await queue.consume();
  expect(await consumer.take(9)).toHaveLength(1);
  expect((await failed()).length).toBe(opts.includes('true') ? 0 : 1); // its own options delete it
  expect(await queue.client().exists(queue.key(id))).toBe(0);
});

/** Fields of a job with which BullMQ's own scripts fail. */
const UNUSABLE: readonly Readonly<Record<string, string>>[] = [
  { atm: 'x' },
  { atm: '9223372036854775807' },
  { parent: 'not JSON' },
  { parent: '5' },
  { parent: '{"id": {}, "queueKey": []}', parentKey: 'a' },
  { parentKey: '{ckv}:text:0', parent: '{"id": "0", "queueKey": "{ckv}:text"}' },
  { opts: '{"attempts": "three"}' },
  { opts: '{"removeOnComplete": "x", "removeOnFail": "x"}' },
  { opts: '{"removeOnComplete": {"count": "x"}, "removeOnFail": {"age": {}}}' },
  { opts: '{"removeOnComplete": [], "removeOnFail": null}' },
  { opts: '5' },
  { returnvalue: 'not JSON' },
  { stacktrace: 'not JSON' },
];

describe.each(UNUSABLE)('a job with the fields %j', (fields) => {
  const take = async () => {
    const [id = ''] = await enqueue(1);
    await queue.client().set('{ckv}:text:0:dependencies', 'not a set');
    await queue.client().hset(queue.key(id), fields);
    const consumer = await queue.consume();
    const [job] = await consumer.take(5);
    if (!job) throw new Error('the job is not taken');
    return { consumer, job };
  };

  it('is completed', async () => {
    const { consumer, job } = await take();
    await consumer.complete([job]);
    expect(await active()).toEqual([]);
    expect(await queue.client().exists(queue.key(job.id), `${queue.key(job.id)}:lock`)).toBe(0);
  });

  it('is set aside, listed, and taken again after a retry', async () => {
    const { consumer, job } = await take();
    await consumer.fail(job, 'invalid_request: wrong');
    expect(await active()).toEqual([]);
    expect(await failed()).toMatchObject([{ problem: 'invalid_request: wrong', payload: job.payload }]);
    const inspection = inspectQueue({ client: queue.operator(), keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
    expect(await inspection.retry()).toBe(1);
    await inspection.close();
    const again = await consumer.take(5);
    expect(again).toMatchObject([{ payload: job.payload }]);
    await consumer.complete(again);
    expect(await active()).toEqual([]);
  });
});

it.each([{ ats: 'x' }, { ats: '1.5' }, { ats: '9223372036854775807' }])(
  'sets a job with the count %j aside, which BullMQ cannot make active, and gives the others',
  async (fields) => {
    const [id = '', other] = await enqueue(2);
    await queue.client().hset(queue.key(id), fields);
    const consumer = await queue.consume();
    expect(await consumer.take(9)).toMatchObject([{ id: other }]);
    expect(await active()).toEqual([other]);
    expect(await failed()).toMatchObject([
      { problem: 'invalid_request: ats: is not a whole number; leave it to BullMQ', payload: { unreadable: fields } },
    ]);
  },
);

it('completes a job that waits for jobs of its own', async () => {
  const [id = ''] = await enqueue(1);
  await queue.client().sadd(`${queue.key(id)}:dependencies`, 'another');
  const consumer = await queue.consume();
  await consumer.complete(await consumer.take(5));
  expect(await active()).toEqual([]);
  expect(await queue.client().exists(queue.key(id))).toBe(0);
});

describe('complete', () => {
  it("keeps a completed job if the job's own options say so", async () => {
    const [kept = '', gone = ''] = await enqueue(2);
    await queue.client().hset(queue.key(kept), 'opts', JSON.stringify({ removeOnComplete: false }));
    const consumer = await queue.consume();
    await consumer.complete(await consumer.take(5));
    expect(await queue.client().exists(queue.key(kept), queue.key(gone))).toBe(1);
    expect(await queue.client().zrange(queue.key('completed'), '0', '-1')).toEqual([kept]);
  });

  it('completes the others if one cannot be completed, and that one later', async () => {
    const [first = '', second = '', third = ''] = await enqueue(3);
    const consumer = await queue.consume();
    const jobs = await consumer.take(5);
    await queue.client().set(queue.key(`${second}:lock`), 'another');
    await expect(consumer.complete(jobs)).rejects.toMatchObject({
      reason: 'dependency_unavailable',
      cause: { message: expect.stringContaining(`job ${second} cannot be completed`) },
    });
    expect(await active()).toEqual([second]);
    expect(await queue.client().exists(queue.key(first), queue.key(third))).toBe(0);
    await queue.client().set(queue.key(`${second}:lock`), 'one');
    await consumer.complete(jobs.filter(({ id }) => id === second));
    expect(await active()).toEqual([]);
  });

  it('refuses a job that is not taken, or not any more', async () => {
    await enqueue(1);
    const consumer = await queue.consume();
    const jobs = await consumer.take(5);
    await consumer.complete(jobs);
    const notTaken = { cause: { message: expect.stringMatching(/is not taken$/) } };
    await expect(consumer.complete(jobs)).rejects.toMatchObject(notTaken);
    await expect(consumer.fail(jobs[0] as (typeof jobs)[0], 'bug: x')).rejects.toMatchObject(notTaken);
    await expect(consumer.remember(jobs[0] as (typeof jobs)[0], 1)).rejects.toMatchObject(notTaken);
  });
});

describe('fail', () => {
  it('sets a job aside once, and under one suffix however often it fails', async () => {
    const [id = ''] = await enqueue(1);
    const consumer = await queue.consume();
    for (const problem of ['bug: first', 'bug: second']) {
      const [job] = await consumer.take(1);
      if (!job) throw new Error('nothing taken');
      await consumer.fail(job, problem);
      await expect(consumer.fail(job, problem)).rejects.toThrow();
      const [aside] = await failed();
      expect(aside?.problem).toBe(problem);
      expect(aside?.id.split('.aside-')).toEqual([id, expect.stringMatching(/^[0-9a-z]+$/)]);
      await inspectQueue({ client: queue.operator(), keyPrefix: 'ckv', partitionCount: PARTITION_COUNT }).retry();
    }
  });

  it('says which job is gone', async () => {
    const [id = ''] = await enqueue(1);
    const consumer = await queue.consume();
    const [job] = await consumer.take(1);
    if (!job) throw new Error('nothing taken');
    await queue.client().del(queue.key(id));
    const gone = { cause: { message: `job ${id} is gone` } };
    await expect(consumer.remember(job, 3)).rejects.toMatchObject(gone);
    await expect(consumer.fail(job, 'bug: x')).rejects.toMatchObject(gone);
  });
});
