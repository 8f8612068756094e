import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { bundleFolder, mixedRequests, seeded } from '../mixed-requests.fixture.js';
import type { RankAnswer } from '../ranker.js';
import { readCapture } from './capture.js';
import { openCapture } from './capture-file.js';
import { type CaptureFolder, openCaptureFolder } from './capture-folder.js';
import { captureKeysIn, userTag } from './capture-keys.js';
import type { CaptureCount } from './capture-metrics.js';
import { type Captures, type CapturesOptions, createCaptures } from './captures.js';
import { environmentOf } from './open-captures.js';

const BUSY = { timeout: 60_000, interval: 5 }; // a busy machine

const KEYS = captureKeysIn({ field: 'key', path: 'key' }, Buffer.from(`${'5c'.repeat(32)}\n${'6d'.repeat(32)}`));

let engine: Engine;
let bundle: LoadedBundle;
let answered: RankAnswer;
beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 8 });
  bundle = await loadBundle(bundleFolder('target'), engine, { graphs: ['encode', 'rank'], verifyGolden: false });
  answered = await mixedRequests(bundle, seeded(3)).answer('recent', 0);
});
afterAll(() => engine.close());

let dir: string;
let folder: CaptureFolder;
let captures: Captures;
const counted: CaptureCount[] = [];
const warn = vi.fn();
beforeEach(async () => {
  counted.length = 0;
  warn.mockReset();
  dir = await mkdtemp(join(tmpdir(), 'ckv-captures-'));
  folder = await openCaptureFolder({ dir, ttlMs: 60_000 });
  captures = capturesWith({});
});
afterEach(async () => {
  await captures.close();
  await rm(dir, { recursive: true, force: true });
});

function capturesWith(options: Partial<CapturesOptions>): Captures {
  return createCaptures({
    folder,
    keys: () => KEYS,
    maxCount: 3,
    maxBytes: 1_000_000,
    environment: environmentOf({
      CKV_PROVIDER: 'cpu',
      CKV_PRECISION: 'float32',
      CKV_THREADS_PER_WORKER: 1,
      CKV_POOL_MODE: 'replica',
    }),
    metrics: { count: (outcome) => counted.push(outcome) },
    log: { warn },
    sweepEveryMs: 60_000,
    ...options,
  });
}

/** Answers a request that asks for a capture. */
const capture = (captureId: string, work = async () => answered, userId = 'u') =>
  captures.around({ ...answered.basis.query, captureId, userId }, work).then((answer) => answer.capture);

/** Writes what waits, and returns the ids of the files. */
async function written(): Promise<string[]> {
  await captures.close();
  return (await readdir(dir)).map((file) => file.split('.')[0] ?? '').sort();
}

it('a capture has what the request depended on, and is named by its id and the tag of the user', async () => {
  expect(await capture('c')).toBe('taken');
  expect(await written()).toEqual(['c']);
  const file = `c.${userTag(KEYS[0], 'u')}.capture`;
  const read = readCapture(file, openCapture(file, await readFile(join(dir, file)), KEYS));
  const { query, recordBytes } = answered.basis;
  expect(read).toMatchObject({ captureId: 'c', bundleId: bundle.model.id, partCount: 1 });
  expect(read.query.recentInteractions).toEqual(query.recentInteractions);
  expect(read.recordBytes).toEqual(Buffer.from(recordBytes ?? []));
  expect(read.answer.scores).toEqual(answered.scores);
  expect(counted).toEqual(['written']);
});

it('a request without a capture id is only answered', async () => {
  expect(await captures.around(answered.basis.query, async () => answered)).toBe(answered);
  expect(await written()).toEqual([]);
});

it('a request that fails is not captured, and its id can be used again', async () => {
  const failure = new Error('no answer');
  await expect(capture('c', () => Promise.reject(failure))).rejects.toBe(failure);
  expect(await capture('c')).toBe('taken');
  expect(await written()).toEqual(['c']);
});

describe('a request is answered and not captured', () => {
  it('if its id is in use: by a file, by a capture that waits, or by a request under way', async () => {
    expect(await capture('c')).toBe('taken');
    expect(await capture('c')).toBe('id_used');
    await vi.waitUntil(() => folder.has('c'), BUSY);
    expect(await capture('c')).toBe('id_used');
    let answer: (answer: RankAnswer) => void = () => undefined;
    const waiting = capture('d', () => new Promise((resolve) => (answer = resolve)));
    expect(await capture('d')).toBe('id_used');
    answer(answered);
    expect(await waiting).toBe('taken');
    expect(await written()).toEqual(['c', 'd']);
  });

  it('if the folder has as many as it may', async () => {
    for (const id of ['a', 'b', 'c']) expect(await capture(id)).toBe('taken');
    expect(await capture('d')).toBe('full');
    expect(await written()).toEqual(['a', 'b', 'c']);
    expect(counted).toEqual(['full', 'written', 'written', 'written']);
  });

  it('if the folder has as many bytes as it may, with those that wait', async () => {
    captures = capturesWith({ maxBytes: 8_000 });
    expect(await capture('a')).toBe('taken');
    expect(await capture('b')).toBe('full');
    await vi.waitUntil(() => folder.has('a'), BUSY);
    expect(folder.bytes).toBeLessThan(8_000);
  });

  it('if too many captures wait to be written', async () => {
    captures = capturesWith({ maxCount: 1_000 });
    const outcomes = await Promise.all(Array.from({ length: 70 }, (_, i) => capture(`c${i}`)));
    expect(outcomes.filter((outcome) => outcome === 'busy')).toHaveLength(6);
    expect(await written()).toHaveLength(64);
  });
});

describe('the captures of an erased user are gone', () => {
  it('if they were written, and those of others stay', async () => {
    await capture('c');
    await capture('other', async () => answered, 'other user');
    await vi.waitUntil(() => folder.count === 2, BUSY);
    captures.eraseUser('u');
    await vi.waitUntil(() => !folder.has('c'), BUSY);
    expect(await written()).toEqual(['other']);
  });

  it('if they were written with a former key, or without one', async () => {
    for (const [i, keys] of [[], KEYS.slice(1), KEYS].entries()) {
      const before = capturesWith({ keys: () => keys });
      await before.around({ ...answered.basis.query, captureId: `c${i}` }, async () => answered);
      await before.close();
    }
    expect(folder.count).toBe(3);
    captures.eraseUser('u');
    await vi.waitUntil(() => folder.count === 0, BUSY);
  });

  it('if the request was under way, or its capture waited', async () => {
    const work = async () => {
      captures.eraseUser('u');
      return answered;
    };
    expect(await capture('c', work)).toBe('erased');
    expect(await capture('d')).toBe('taken');
    captures.eraseUser('u');
    expect(await written()).toEqual([]);
    expect(counted).toEqual(['erased', 'erased']);
  });

  it('if its capture was being written', async () => {
    captures = capturesWith({
      folder: {
        ...folder,
        async write(...args) {
          captures.eraseUser('u');
          await folder.write(...args);
        },
      },
    });
    expect(await capture('c')).toBe('taken');
    expect(await written()).toEqual([]);
    expect(counted).toEqual(['erased']);
  });
});

it('a capture that cannot be written is counted and logged, without its id, and others are written', async () => {
  await rm(dir, { recursive: true });
  expect(await capture('u-secret')).toBe('taken');
  await vi.waitUntil(() => counted.length === 1, BUSY);
  expect(counted).toEqual(['failed']);
  expect(JSON.stringify(warn.mock.calls)).toBe('[[{"problem":"ENOENT"},"a capture cannot be written"]]');
  folder = await openCaptureFolder({ dir, ttlMs: 60_000 });
  captures = capturesWith({});
  expect(await capture('u-secret')).toBe('taken');
  expect(await written()).toEqual(['u-secret']);
});
