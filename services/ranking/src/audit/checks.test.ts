import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadedBundle } from '@collectivekv/bundles';
import { bundleIdOf, CkvError } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { bundleFolder, loadWhole, mixedRequests, REQUEST_KINDS, seeded } from '../mixed-requests.fixture.js';
import type { RecordSource } from '../records/record-source.js';
import { writeAlteredTarget } from './altered-bundle.fixture.js';
import { type AuditBundles, createAuditBundles } from './audit-bundles.js';
import { createPathCheck } from './path-check.js';
import { compareScores } from './score-comparison.js';
import { createShadowCheck } from './shadow-check.js';

const TOLERANCE = 1e-4;
const SEED = Date.now() % 2 ** 31;

let dir: string;
let serving: Engine;
let auditing: Engine;
let bundles: AuditBundles;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-audit-'));
  const options = { provider: 'cpu', threadsPerWorker: 1, queueLimit: 64 } as const;
  serving = await createEngine({ ...options, workerCount: 2 });
  auditing = await createEngine({ ...options, workerCount: 1 });
  bundles = createAuditBundles({ engine: auditing, cacheDir: dir, pool: { stream }, trust: undefined });
});
afterAll(async () => {
  await bundles.close();
  await auditing.close();
  await serving.close();
  await rm(dir, { recursive: true, force: true });
});

const stream = vi.fn(() => {
  throw new CkvError('dependency_unavailable', 'no pool');
});

describe('scores by the other path', () => {
  it.each(['target', 'factored', 'hstu', 'factored_stca', 'residual'])(
    'confirm every answer of the bundle %s, however it was made',
    async (name) => {
      const served = await loadWhole(bundleFolder(name), serving);
      const requests = mixedRequests(served, seeded(SEED));
      for (let i = 0; i < 3 * REQUEST_KINDS.length; i++) {
        const kind = REQUEST_KINDS[i % REQUEST_KINDS.length] ?? 'stored';
        const answer = await requests.answer(kind, 4);
        const isRemote = kind === 'remote' || kind === 'no rows gathered';
        const result = await createPathCheck(bundles, isRemote).run(answer);
        if (result.kind !== 'scores') throw new Error(`the result is ${result.kind}`);
        const { largestDifference } = compareScores(answer.scores, result.scores);
        expect(largestDifference, `${kind}, seed ${SEED}`).toBeLessThanOrEqual(TOLERANCE);
      }
      await served.close();
    },
  );

  it('do not confirm answers of a rank graph that is not what rank_kv is', async () => {
    const folder = join(dir, 'altered');
    await writeAlteredTarget(folder, 1.02);
    const served = await loadWhole(folder, serving);
    const requests = mixedRequests(served, seeded(SEED));
    for (const [kind, isRemote] of [
      ['stored', false],
      ['remote', true],
    ] as const) {
      const answer = await requests.answer(kind, 0);
      const result = await createPathCheck(bundles, isRemote).run(answer);
      if (result.kind !== 'scores') throw new Error(`the result is ${result.kind}`);
      expect(compareScores(answer.scores, result.scores).largestDifference).toBeGreaterThan(TOLERANCE);
    }
    await served.close();
  });
});

describe('a shadow bundle', () => {
  let served: LoadedBundle;
  const get = vi.fn<RecordSource['get']>();
  beforeAll(async () => {
    served = await loadWhole(bundleFolder('target'), serving);
  });
  afterAll(() => served.close());
  beforeEach(() => {
    get.mockReset();
    get.mockResolvedValue({ bytes: undefined, ageMs: 0 });
  });

  /** Puts a bundle into the cache folder, as a fetch does. Returns its id. */
  async function fetched(write: (folder: string) => Promise<void>): Promise<string> {
    const folder = await mkdtemp(join(dir, 'bundle-'));
    await write(folder);
    const bundleId = bundleIdOf(await readFile(join(folder, 'bundle.json')));
    await rename(folder, join(dir, bundleId));
    return bundleId;
  }
  /** Writes a bundle of the same encoding, whose manifest has other values. */
  const otherWith = (values: object) => async (folder: string) => {
    await writeAlteredTarget(folder, 1.02);
    const manifest = JSON.parse(await readFile(join(folder, 'bundle.json'), 'utf8'));
    await writeFile(join(folder, 'bundle.json'), JSON.stringify({ ...manifest, ...values }));
  };
  const shadowOf = (shadowId: string) => createShadowCheck({ bundles, records: { get }, shadowOf: () => shadowId });

  it('of the same encoding scores the record of the answer, and its scores are its own', async () => {
    const shadow = shadowOf(await fetched(otherWith({ name: 'candidate' })));
    const requests = mixedRequests(served, seeded(SEED));
    for (const kind of ['stored', 'recent', 'cold', 'ignored'] as const) {
      const answer = await requests.answer(kind, 0);
      const result = await shadow.run(answer);
      if (result.kind !== 'scores') throw new Error(`${kind} is ${result.kind}`);
      const { largestDifference } = compareScores(answer.scores, result.scores);
      expect(largestDifference).toBeGreaterThan(0);
      expect(largestDifference).toBeLessThan(0.05);
    }
    expect(get).not.toHaveBeenCalled();
  });

  it('of another encoding scores its own record, and is cold for users without one', async () => {
    const shadow = shadowOf(await fetched((folder) => cp(bundleFolder('factored'), folder, { recursive: true })));
    const answer = await mixedRequests(served, seeded(SEED)).answer('stored', 0);
    expect(await shadow.run(answer)).toEqual({ kind: 'cold' });
    const other = await loadWhole(bundleFolder('factored'), serving);
    const { basis } = await mixedRequests(other, seeded(SEED)).answer('stored', 0);
    await other.close();
    get.mockResolvedValue({ bytes: basis.recordBytes, ageMs: 0 });
    expect(await shadow.run(answer)).toMatchObject({ kind: 'scores' });
    get.mockRejectedValue(new CkvError('dependency_unavailable', 'away'));
    expect(await shadow.run(answer)).toEqual({ kind: 'skipped' });
  });

  it('does not take a request beyond its bounds', async () => {
    const shadow = shadowOf(await fetched(otherWith({ name: 'small', maxCandidates: 1 })));
    expect(await shadow.run(await mixedRequests(served, seeded(5)).answer('stored', 0))).toEqual({
      kind: 'unsupported',
    });
  });

  it('is compared neither with itself nor with an answer without the whole history', async () => {
    const requests = mixedRequests(served, seeded(SEED));
    const itself = shadowOf(served.model.id);
    expect(await itself.run(await requests.answer('stored', 0))).toEqual({ kind: 'skipped' });
    const other = shadowOf('0123456789abcdef');
    for (const kind of ['no record read', 'corrupt record', 'no rows gathered'] as const) {
      expect(await other.run(await requests.answer(kind, 0))).toEqual({ kind: 'skipped' });
    }
  });

  it('that cannot be fetched is not asked for again at once', async () => {
    const shadow = shadowOf('fedcba9876543210');
    const answer = await mixedRequests(served, seeded(SEED)).answer('stored', 0);
    await expect(shadow.run(answer)).rejects.toThrow('no pool');
    await expect(shadow.run(answer)).rejects.toThrow('did not load for audits; it is tried again soon');
    expect(stream).toHaveBeenCalledTimes(1);
  });
});
