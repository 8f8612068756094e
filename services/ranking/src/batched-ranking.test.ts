// Requests of many users at once, whose runs of the rank graph are joined, get the scores that each gets alone.
import { encodeRows, type LoadedBundle, loadBundle, readServedGolden, type ServedCase } from '@collectivekv/bundles';
import { encodeRecord, newestRows } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { packIds } from '@collectivekv/rpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleFolder } from './mixed-requests.fixture.js';
import { oneBundle } from './one-bundle.js';
import { createRanker, type RankAnswer } from './ranker.js';

const USERS = 64;
const GRAPHS = { graphs: ['encode', 'rank'], poolTables: true, verifyGolden: true } as const;

let engine: Engine;
/** Users of each batch; below 0 if it failed. */
let batches: number[];
let alone: LoadedBundle;
let joined: LoadedBundle;
let golden: ServedCase;
/** Each user's record: the first knows nothing, the last knows all. */
let records: Map<string, Uint8Array>;

describe.each(['target', 'sim', 'twin', 'factored', 'factored_stca'])('the bundle %s', (name) => {
  beforeAll(async () => {
    batches = [];
    engine = await createEngine({
      provider: 'cpu',
      workerCount: 1,
      threadsPerWorker: 1,
      queueLimit: USERS,
      onBatch: (userCount, failed) => batches.push(failed ? -userCount : userCount),
    });
    alone = await loadBundle(bundleFolder(name), engine, GRAPHS);
    joined = await loadBundle(bundleFolder(name), engine, { ...GRAPHS, batchUsers: USERS });
    const cases = await readServedGolden(alone);
    golden = cases.reduce((one, other) => (other.interactions.length > one.interactions.length ? other : one));
    records = new Map();
    for (let i = 1; i < USERS; i++) records.set(`u${i}`, await recordOf(i));
  });
  afterAll(() => engine.close());

  it(`answers ${USERS} users of mixed lengths at once as each alone`, async () => {
    const users = Array.from({ length: USERS }, (_, i) => i);
    const wanted: RankAnswer[] = [];
    for (const user of users) wanted.push(await rank(alone, user));
    expect(batches).toEqual([]);
    const answers = await Promise.all(users.map((user) => rank(joined, user)));
    expect(Math.max(...batches)).toBeGreaterThan(4);
    expect(Math.min(...batches)).toBeGreaterThan(0);
    answers.forEach(({ scores, positionCount, rung }, i) => {
      expect({ positionCount, rung }).toEqual({ positionCount: wanted[i]?.positionCount, rung: wanted[i]?.rung });
      expect(scores.length).toBe(wanted[i]?.scores.length);
      const differences = scores.map((score, j) => Math.abs(score - (wanted[i]?.scores[j] ?? Number.NaN)));
      expect(Math.max(...differences)).toBeLessThan(1e-4);
    });
    expect(new Set(answers.map(({ scores }) => scores[0])).size).toBeGreaterThan(USERS / 2);
  });

  it('answers users whose requests are captured by runs of their own, which a replay repeats bit for bit', async () => {
    const before = batches.length;
    const users = Array.from({ length: 8 }, (_, i) => i);
    const answers = await Promise.all(users.map((user) => rank(joined, user, `capture-${user}`)));
    expect(batches.length).toBe(before);
    for (const user of users) expect(answers[user]?.scores).toEqual((await rank(alone, user)).scores);
  });
});

/** Returns a record of as many interactions of the golden history as a user has. */
async function recordOf(user: number): Promise<Uint8Array> {
  const { encodingId, layout, manifest } = alone.model;
  const count = Math.ceil((golden.interactions.length * user) / (USERS - 1));
  const history = golden.interactions.slice(0, count).map((one, i) => ({ ...one, userId: 'u', eventId: `e${i}` }));
  return encodeRecord({
    encodingId,
    strideBytes: layout.strideBytes,
    lifetimeCount: count,
    lastEventMs: 1,
    recentEvents: new Uint8Array(0),
    rows: newestRows(layout, await encodeRows(alone, history), manifest.maxPositions),
  });
}

/** Ranks the golden candidates of a user, the fewer the longer the history. */
function rank(bundle: LoadedBundle, user: number, captureId = ''): Promise<RankAnswer> {
  const count = Math.max(1, golden.candidateIds.length - user);
  const ranker = createRanker({
    bundles: oneBundle(bundle),
    records: { get: async ({ userId }) => ({ bytes: records.get(userId), ageMs: 0 }) },
    partCandidates: 0,
    othersWait: () => false,
  });
  const query = {
    userId: `u${user}`,
    candidateIds: packIds(golden.candidateIds.slice(0, count), 'candidate_ids'),
    candidateFeatures: [],
    contextFeatures: [],
    recentInteractions: [],
    maxStalenessMs: 0,
    topK: 0,
    bundleId: '',
    historyPolicy: 'preferred',
    captureId,
    explain: false,
  } as const;
  return ranker.rank(query, { deadlineMs: Number.POSITIVE_INFINITY, signal: new AbortController().signal });
}
