import { type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bundleFolder,
  loadWhole,
  mixedRequests,
  REQUEST_KINDS,
  type RequestKind,
  seeded,
} from '../mixed-requests.fixture.js';
import type { RankAnswer } from '../ranker.js';
import { type Capture, readCapture, writeCapture } from './capture.js';
import { openCapture, sealCapture } from './capture-file.js';
import { captureKeysIn } from './capture-keys.js';
import { environmentOf } from './open-captures.js';
import { replayCapture, replayNeeds } from './replay.js';

const KEYS = captureKeysIn({ field: 'key', path: 'key' }, Buffer.from('5c'.repeat(32)));
const BUNDLES = ['target', 'factored', 'hstu', 'factored_sim', 'residual'];
const PER_BUNDLE = 200; // 1,000 in all
const SEED = Date.now() % 2 ** 31;

let serving: Engine;
let replaying: Engine;
beforeAll(async () => {
  const options = { provider: 'cpu', threadsPerWorker: 1, queueLimit: 64 } as const;
  serving = await createEngine({ ...options, workerCount: 3 });
  replaying = await createEngine({ ...options, workerCount: 1 });
});
afterAll(async () => {
  await serving.close();
  await replaying.close();
});

/** Returns the capture of an answer, as it is read from its file. */
function captureOf(answer: RankAnswer, kind: RequestKind): Capture {
  const { bundle, query, recordBytes, recordMissing, rowsMissing } = answer.basis;
  const poolMode = kind === 'remote' || kind === 'no rows gathered' ? 'remote' : 'replica';
  const json = writeCapture({
    captureId: 'c',
    takenAtMs: 0,
    environment: environmentOf({
      CKV_PROVIDER: 'cpu',
      CKV_PRECISION: 'float32',
      CKV_THREADS_PER_WORKER: 1,
      CKV_POOL_MODE: poolMode,
    }),
    bundleId: bundle.model.id,
    encodingId: bundle.model.encodingId,
    query,
    recordBytes,
    recordMissing,
    rowsMissing,
    partCount: answer.partCount,
    answer,
  });
  return readCapture('c', openCapture('c', sealCapture(json, KEYS[0]), KEYS));
}

describe.each(BUNDLES)('captured requests to the bundle %s', (name) => {
  it(`are replayed bit for bit: all of ${PER_BUNDLE}, of every kind and in several parts`, async () => {
    const served = await loadWhole(bundleFolder(name), serving);
    const loaded = new Map<string, LoadedBundle>();
    const requests = mixedRequests(served, seeded(SEED));
    const seen = new Set<string>();
    for (let i = 0; i < PER_BUNDLE; i++) {
      const kind = REQUEST_KINDS[i % REQUEST_KINDS.length] ?? 'stored';
      const answer = await requests.answer(kind, i % 3 === 0 ? 4 : 0);
      const capture = captureOf(answer, kind);
      const { graphs, poolTables } = replayNeeds(capture);
      const bundle =
        loaded.get(graphs.join()) ??
        (await loadBundle(bundleFolder(name), replaying, { graphs, poolTables, verifyGolden: false }));
      loaded.set(graphs.join(), bundle);
      const replayed = await replayCapture(capture, bundle);
      expect(replayed, `request ${i}, ${kind}, seed ${SEED}`).toMatchObject({
        identical: true,
        largestDifference: 0,
        answer: { positionCount: answer.positionCount, rung: answer.rung, partCount: answer.partCount },
      });
      seen.add(kind).add(answer.rung).add(`${answer.partCount} parts`);
    }
    const parts = served.splitsCandidates ? ['1 parts', '2 parts', '3 parts'] : ['1 parts'];
    expect([...seen].sort()).toEqual([...REQUEST_KINDS, 'full', 'recent_only', 'no_history', ...parts].sort());
    await served.close();
    for (const bundle of loaded.values()) await bundle.close();
  });
});

describe('a replay', () => {
  let bundle: LoadedBundle;
  let capture: Capture;
  beforeAll(async () => {
    bundle = await loadWhole(bundleFolder('target'), replaying);
    capture = captureOf(await mixedRequests(bundle, seeded(1)).answer('recent', 0), 'recent');
  });
  afterAll(() => bundle.close());

  it('says by how much scores differ, and where', async () => {
    const scores = capture.answer.scores.slice();
    scores[0] = (scores[0] ?? 0) + 0.25;
    const replayed = await replayCapture({ ...capture, answer: { ...capture.answer, scores } }, bundle);
    expect(replayed).toMatchObject({ identical: false, differingCount: 1, largestAt: 0 });
    expect(replayed.largestDifference).toBeCloseTo(0.25, 6);
  });

  it('gives other scores if the record or the recent interactions were others', async () => {
    const without = { ...capture.query, recentInteractions: [] };
    expect((await replayCapture({ ...capture, query: without }, bundle)).identical).toBe(false);
    expect((await replayCapture({ ...capture, recordBytes: undefined }, bundle)).identical).toBe(false);
  });

  it('is refused with another bundle', async () => {
    const other = { ...capture, bundleId: '0123456789abcdef' };
    await expect(replayCapture(other, bundle)).rejects.toMatchObject({
      reason: 'invalid_request',
      message: `capture c is of bundle 0123456789abcdef, not ${bundle.model.id}`,
    });
  });
});
