import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Announcement,
  type BundleTrust,
  followBundleTrust,
  type LoadedBundle,
  signBundle,
} from '@collectivekv/bundles';
import { CkvError } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Activation, type ActivationFile, createActivationFile } from './activation.js';
import { type BundleShelf, type BundleShelfOptions, createBundleShelf } from './bundle-shelf.js';
import { copyBundles } from './two-bundles.fixture.js';

const copies = copyBundles('first', 'second', 'third');
const [first = '', second = '', third = ''] = copies.ids;
const GONE = 'f'.repeat(16);
let engine: Engine;
/** What the activation file holds. */
let stored: Activation | undefined;
const activationFile: ActivationFile = {
  read: async () => stored,
  write: async (activation) => {
    stored = activation;
    return true;
  },
};
let shelf: BundleShelf | undefined;

beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
});
afterAll(async () => {
  await engine.close();
  copies.remove();
});
beforeEach(() => {
  stored = undefined;
});
afterEach(async () => {
  await shelf?.close();
  shelf = undefined;
});

async function open(options: Partial<BundleShelfOptions> = {}): Promise<BundleShelf> {
  const dirs = copies.dirs.slice(0, 2);
  shelf = await createBundleShelf({ dirs, preferred: 'first', engine, activationFile, trust: undefined, ...options });
  return shelf;
}
const openAll = () => open({ dirs: copies.dirs });
/** What a shelf announces: ids with their states, and the shares of canaries. */
const announced = ({ announcement }: Pick<BundleShelf, 'announcement'>) =>
  announcement().bundles.map(({ bundleId, state, shareBp }) => [bundleId, state, ...(shareBp > 0 ? [shareBp] : [])]);

describe('the first active bundle', () => {
  it.each([
    ['the one of the file', { active: second, previous: [first] }, 'first', second],
    ['the preferred one by its id', undefined, second, second],
    ['the preferred one by its name', undefined, 'second', second],
    ['the preferred one if the file names a bundle that is gone', { active: GONE, previous: [] }, 'second', second],
  ])('is %s', async (_, inFile, preferred, wanted) => {
    stored = inFile;
    expect((await open({ preferred })).announcement().activeBundleId).toBe(wanted);
  });

  it('is the only one', async () => {
    const verified: string[] = [];
    const only = await open({
      dirs: copies.dirs.slice(1, 2),
      preferred: '',
      onLoaded: ({ model }) => verified.push(model.id),
    });
    expect(announced(only)).toEqual([[second, 'active']]);
    expect(verified).toEqual([second]);
  });

  it.each(['', 'nothing'])('must be named if there are several: "%s"', async (preferred) => {
    await expect(open({ preferred })).rejects.toMatchObject({
      reason: 'bundle_not_loaded',
      message: expect.stringContaining(`use one of: first (${first}), second (${second})`),
    });
  });
});

describe('with a damaged bundle', () => {
  const damagedCopies = copyBundles('sound', 'damaged', 'other');
  const [sound = '', damaged = ''] = damagedCopies.ids;
  const dirs = damagedCopies.dirs;
  const onLeftOut = vi.fn();
  const openDamaged = (options: Partial<BundleShelfOptions>) => open({ dirs, preferred: '', onLeftOut, ...options });
  beforeAll(() => truncateSync(join(dirs[1] ?? '', 'pool.bin'), 10));
  afterAll(damagedCopies.remove);
  beforeEach(() => onLeftOut.mockClear());

  it.each([
    ['named', undefined, 'sound', 'invalid_request'],
    ['activated before', { active: sound, previous: [damaged] }, '', 'bundle_not_loaded'],
  ])('leaves it out and reports it if another bundle is %s', async (_, inFile, preferred, reason) => {
    stored = inFile;
    const opened = await openDamaged({ preferred });
    expect(announced(opened)).toEqual([[sound, 'active']]);
    expect(opened.ids()).toEqual([sound, damagedCopies.ids[2]]);
    expect(onLeftOut.mock.calls).toEqual([
      [{ dir: dirs[1], problem: expect.stringContaining('pool.bin: has 10 bytes') }],
    ]);
    await expect(opened.rollback()).rejects.toMatchObject({ reason });
  });

  it.each([
    ['was activated', { active: damaged, previous: [sound] }, 'sound', dirs],
    ['is named', undefined, 'damaged', dirs],
    ['may be the only one', undefined, '', dirs.slice(0, 2)],
    ['is the only one', undefined, '', dirs.slice(1, 2)],
  ])('does not start if it %s', async (_, inFile, preferred, used) => {
    stored = inFile;
    await expect(openDamaged({ preferred, dirs: used })).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringMatching(/pool\.bin: has 10 bytes.*mend the bundle/),
    });
  });
});

describe('with trusted keys', () => {
  const signedCopies = copyBundles('signed', 'unsigned', 'by-a-stranger');
  const [signed = ''] = signedCopies.ids;
  const dirs = signedCopies.dirs;
  const onLeftOut = vi.fn();
  let trust: BundleTrust | undefined;
  beforeAll(async () => {
    const [own, strangers] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
    await signBundle(dirs[0] ?? '', own.privateKey);
    await signBundle(dirs[2] ?? '', strangers.privateKey);
    const paths = join(signedCopies.dir, 'trusted.pem');
    writeFileSync(paths, own.publicKey.export({ type: 'spki', format: 'pem' }));
    trust = followBundleTrust({ field: 'CKV_BUNDLE_TRUST', paths });
  });
  afterAll(() => {
    trust?.close();
    signedCopies.remove();
  });

  it('leaves out bundles that no trusted key signed, and reports them', async () => {
    const opened = await open({ dirs, preferred: 'signed', trust, onLeftOut });
    expect(opened.ids()).toEqual([signed]);
    expect(onLeftOut.mock.calls).toEqual([
      [{ dir: dirs[1], problem: expect.stringContaining('is not signed; sign it with "ckv bundle sign"') }],
      [{ dir: dirs[2], problem: expect.stringMatching(/is signed by [0-9a-f]{16}, but CKV_BUNDLE_TRUST has/) }],
    ]);
  });

  it('does not start with a bundle that no trusted key signed', async () => {
    const [, unsigned = ''] = signedCopies.ids;
    stored = { active: unsigned, previous: [signed] };
    await expect(open({ dirs, preferred: '', trust })).rejects.toMatchObject({
      reason: 'bundle_invalid',
      message: expect.stringContaining(`bundle ${unsigned} in ${dirs[1]} is not signed`),
    });
  });
});

describe('a shelf', () => {
  it('gives a bundle by its id, and the active one without an id', async () => {
    const opened = await open();
    expect(opened.get('').model.id).toBe(first);
    expect(opened.get(second).model.id).toBe(second);
    expect(() => opened.get(GONE)).toThrow(
      `bundle_id: ${GONE} is not loaded; use one of this pool: ${first}, ${second}`,
    );
  });

  it('activates a bundle, announces the previous one for a rollback, and remembers both', async () => {
    const opened = await openAll();
    expect(await opened.activate(second)).toBe(first);
    expect(announced(opened)).toEqual([
      [second, 'active'],
      [first, 'previous'],
    ]);
    expect(await opened.activate(third)).toBe(second);
    expect(announced(opened)).toEqual([
      [third, 'active'],
      [second, 'previous'],
    ]);
    expect(stored).toEqual({ active: third, previous: [second, first] });
    expect(await opened.activate(third)).toBe(third);
    expect(stored).toEqual({ active: third, previous: [second, first] });
    expect(await opened.activate(first)).toBe(third);
    expect(stored).toEqual({ active: first, previous: [third, second] });
    await expect(opened.activate(GONE)).rejects.toMatchObject({ reason: 'bundle_not_loaded' });
    expect(opened.announcement().activeBundleId).toBe(first);
  });

  it('rolls back to the bundle before, and refuses if there was none', async () => {
    const opened = await open();
    await expect(opened.rollback()).rejects.toMatchObject({
      reason: 'invalid_request',
      message: expect.stringContaining('no bundle was active before this one; "ckv bundle activate"'),
    });
    await opened.activate(second);
    expect(opened.rollbackTarget()).toBe(first);
    expect(await opened.rollback()).toEqual({ activeBundleId: first, previousBundleId: second, endedCanaryIds: [] });
    expect(announced(opened)).toEqual([
      [first, 'active'],
      [second, 'previous'],
    ]);
    expect(stored).toEqual({ active: first, previous: [second], left: [second] });
    expect(opened.rollbackTarget()).toBe('');
    await expect(opened.rollback()).rejects.toMatchObject({
      reason: 'invalid_request',
      message: expect.stringContaining(`"ckv bundle activate ${second}"`),
    });
    expect(opened.announcement().activeBundleId).toBe(first);
  });

  describe('with previous bundles of several encodings', () => {
    const mixed = copyBundles('old', 'other-middle', 'new');
    const [old = '', middle = '', newest = ''] = mixed.ids;
    afterAll(mixed.remove);
    const cold = new Error('cold');
    const check = vi.fn((_bundle: LoadedBundle) => {
      throw cold;
    });
    beforeEach(() => {
      check.mockClear();
    });
    const checkedIds = () => check.mock.calls.map(([bundle]) => bundle.model.id);
    const openMixed = () => open({ dirs: mixed.dirs, preferred: 'old' });

    it('rolls back without a check to a bundle whose records were written all the time', async () => {
      const opened = await openMixed();
      await opened.activate(middle);
      await opened.activate(newest); // of the encoding of the first
      expect(await opened.rollback(check)).toMatchObject({ activeBundleId: middle });
      expect(await opened.rollback(check)).toMatchObject({ activeBundleId: old });
      expect(check).not.toHaveBeenCalled();
    });

    it('checks one whose records were deleted', async () => {
      const opened = await openMixed();
      await opened.activate(middle);
      await opened.activate(newest);
      const { encodingId } = opened.get(middle).model;
      const noted = await opened.noteChange({ encodingId, deleted: true });
      expect(noted).toEqual([{ bundleId: middle, state: 'previous', shareBp: 0, recordsChange: 2 }]);
      expect(stored).toMatchObject({ active: newest, stale: [middle], changes: [{ encodingId, number: 2 }] });
      await expect(opened.rollback(check)).rejects.toBe(cold);
      expect(checkedIds()).toEqual([middle]);
      expect(opened.announcement().activeBundleId).toBe(newest);
    });

    it('checks one whose records missed interactions, also after a restart', async () => {
      stored = { active: newest, previous: [old, middle] };
      const opened = await openMixed();
      expect(await opened.rollback(check)).toMatchObject({ activeBundleId: old });
      expect(stored).toMatchObject({ active: old, stale: [middle] });
      await opened.close();
      const restarted = await openMixed();
      await expect(restarted.rollback(check)).rejects.toBe(cold);
      expect(checkedIds()).toEqual([middle]);
      expect(restarted.announcement().activeBundleId).toBe(old);
      expect(await restarted.rollback()).toMatchObject({ activeBundleId: middle });
      expect(stored).not.toHaveProperty('stale');
    });
  });

  it('lists its bundles, and those that were copied to a folder since', async () => {
    const opened = await open({ findDirs: async () => [...copies.dirs, '/nowhere'] });
    await opened.activate(second);
    expect(await opened.list()).toEqual([
      { bundleId: second, name: 'second', loaded: true },
      { bundleId: first, name: 'first', loaded: true },
      { bundleId: third, name: 'third', loaded: false },
    ]);
  });

  it('announces no bundle that is gone, and does not roll back to it', async () => {
    stored = { active: second, previous: [GONE, first] };
    const opened = await open();
    expect(announced(opened)).toEqual([
      [second, 'active'],
      [first, 'previous'],
    ]);
    await expect(opened.rollback()).rejects.toMatchObject({ reason: 'bundle_not_loaded' });
    expect(opened.announcement().activeBundleId).toBe(second);
  });

  it('keeps its activation if the file cannot be written', async () => {
    const full = new Error('no space');
    const opened = await open({ activationFile: { ...activationFile, write: () => Promise.reject(full) } });
    await expect(opened.activate(second)).rejects.toBe(full);
    expect(opened.announcement().activeBundleId).toBe(first);
  });

  it('changes the activation that another replica has just written', async () => {
    const opened = await openAll();
    stored = { active: first, previous: [], candidates: [{ bundleId: third, shareBp: 100 }] };
    await opened.activate(second);
    expect(stored).toEqual({ active: second, previous: [first], candidates: [{ bundleId: third, shareBp: 100 }] });
  });

  it('adopts the activation of another replica, unless it lacks the bundle, which it tells once', async () => {
    const lacking: string[] = [];
    const opened = await open({ onLacking: (bundleId) => lacking.push(bundleId) });
    await opened.refresh();
    expect(opened.announcement().activeBundleId).toBe(first);
    stored = { active: second, previous: [first] };
    await opened.refresh();
    expect(announced(opened)).toEqual([
      [second, 'active'],
      [first, 'previous'],
    ]);
    stored = { active: GONE, previous: [second] };
    await opened.refresh();
    await opened.refresh();
    expect(opened.announcement().activeBundleId).toBe(second);
    expect(lacking).toEqual([GONE]);
    stored = { active: first, previous: [GONE] };
    await opened.refresh();
    stored = { active: GONE, previous: [first] };
    await opened.refresh();
    expect(opened.announcement().activeBundleId).toBe(first);
    expect(lacking).toEqual([GONE, GONE]);
  });
});

describe('replicas of a pool', () => {
  it('refuse a switch after a records change that another one noted, also without its active bundle', async () => {
    const opened = await openAll();
    const { encodingId } = opened.get(third).model;
    const knownChange = opened.latestChange();
    const changes = [{ encodingId, number: 2 }];
    stored = { active: GONE, previous: [], changes };
    await expect(opened.activate(third, undefined, knownChange)).rejects.toMatchObject({ reason: 'conflict' });
    expect(await opened.activate(third)).toBe(first);
    expect(stored).toMatchObject({ active: third, changes });
  });

  it('look again for a bundle that another one named before it was copied, and announce it', async () => {
    let dirs: readonly string[] = copies.dirs.slice(0, 2);
    const opened = await open({ findDirs: async () => dirs });
    stored = { active: first, previous: [], candidates: [{ bundleId: third, shareBp: 0 }] };
    await opened.refresh();
    expect(announced(opened)).toEqual([[first, 'active']]);
    const watching = new AbortController();
    const announcements = opened.watch(watching.signal)[Symbol.asyncIterator]();
    await announcements.next();
    dirs = copies.dirs;
    for (let looks = 0; looks < 3; looks++) await opened.refresh();
    const wanted = [
      [first, 'active'],
      [third, 'warming'],
    ];
    expect(announced(opened)).toEqual(wanted);
    expect((await announcements.next()).value?.bundles).toHaveLength(2);
    watching.abort();
  });

  it('look for a bundle ever more seldom, and say once why it cannot be loaded', async () => {
    const said: string[] = [];
    let looks = 0;
    const findDirs = async () => {
      looks++;
      throw new CkvError('bundle_invalid', 'the folder is broken');
    };
    const opened = await open({ findDirs, onLeftOut: ({ problem }) => said.push(problem) });
    stored = { active: GONE, previous: [first] };
    for (let refreshes = 0; refreshes < 200; refreshes++) await opened.refresh();
    expect(looks).toBeGreaterThan(5);
    expect(looks).toBeLessThan(12);
    expect(said).toEqual(['the folder is broken']);
  });

  it('change no candidate while the active bundle is lacking, and activate another one', async () => {
    const opened = await open();
    stored = { active: GONE, previous: [first] };
    await expect(opened.setCandidate({ bundleId: second, shareBp: 0 })).rejects.toMatchObject({
      reason: 'bundle_not_loaded',
      message: expect.stringContaining(GONE),
    });
    expect(stored).toEqual({ active: GONE, previous: [first] });
    await opened.activate(second);
    expect(stored.active).toBe(second);
  });

  it('lose no change if they change at once', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'ckv-replicas-'));
    const activate = () => open({ dirs: copies.dirs, activationFile: createActivationFile(dir) });
    const replicas = [await activate(), await activate()] as const;
    for (let round = 0; round < 20; round++) {
      await Promise.all([
        replicas[0].setCandidate({ bundleId: second, shareBp: 0 }),
        replicas[1].setCandidate({ bundleId: third, shareBp: 0 }),
      ]);
      const { candidates = [] } = (await createActivationFile(dir).read()) ?? {};
      expect(candidates.map(({ bundleId }) => bundleId).sort()).toEqual([second, third].sort());
      await Promise.all([replicas[0].cancelCandidate(second), replicas[1].cancelCandidate(third)]);
      expect((await createActivationFile(dir).read())?.candidates).toBeUndefined();
    }
    expect(readdirSync(dir)).toEqual(['activation.json']);
    await replicas[0].close();
    rmSync(dir, { recursive: true });
  });
});

describe('candidates', () => {
  it('are announced with their shares, survive a restart, and end', async () => {
    const opened = await openAll();
    await opened.setCandidate({ bundleId: second, shareBp: 0 });
    await opened.setCandidate({ bundleId: third, shareBp: 0 });
    await opened.setCandidate({ bundleId: second, shareBp: 500 });
    const wanted = [
      [first, 'active'],
      [second, 'canary', 500],
      [third, 'warming'],
    ];
    expect(announced(opened)).toEqual(wanted);
    await opened.close();
    const restarted = await openAll();
    expect(announced(restarted)).toEqual(wanted);
    await restarted.cancelCandidate(second);
    expect(announced(restarted)).toEqual([
      [first, 'active'],
      [third, 'warming'],
    ]);
    await restarted.cancelCandidate(third);
    expect(stored).toEqual({ active: first, previous: [] });
  });

  it('become the active bundle; the others stay', async () => {
    const opened = await openAll();
    await opened.setCandidate({ bundleId: second, shareBp: 500 });
    await opened.setCandidate({ bundleId: third, shareBp: 0 });
    expect(await opened.activate(second)).toBe(first);
    expect(announced(opened)).toEqual([
      [second, 'active'],
      [third, 'warming'],
      [first, 'previous'],
    ]);
  });

  it('lose their shares by a rollback, before the active bundle changes', async () => {
    const opened = await openAll();
    await opened.activate(second);
    await opened.setCandidate({ bundleId: third, shareBp: 10_000 });
    expect(opened.rollbackTarget()).toBe(second);
    expect(await opened.rollback()).toEqual({ activeBundleId: second, previousBundleId: '', endedCanaryIds: [third] });
    expect(announced(opened)).toEqual([
      [second, 'active'],
      [third, 'warming'],
      [first, 'previous'],
    ]);
    expect(await opened.rollback()).toMatchObject({ activeBundleId: first, endedCanaryIds: [] });
    expect(announced(opened)).toEqual([
      [first, 'active'],
      [third, 'warming'],
      [second, 'previous'],
    ]);
  });

  it('are announced once, if they were active before', async () => {
    const opened = await open();
    await opened.activate(second);
    await opened.setCandidate({ bundleId: first, shareBp: 100 });
    expect(announced(opened)).toEqual([
      [second, 'active'],
      [first, 'canary', 100],
    ]);
  });

  it('are refused if they are active, unknown, too many, or none', async () => {
    const more = copyBundles('fourth');
    try {
      const opened = await open({ dirs: [...copies.dirs, ...more.dirs] });
      const set = (bundleId: string) => opened.setCandidate({ bundleId, shareBp: 0 });
      await expect(set(first)).rejects.toThrow('bundle_id: is the active bundle');
      await expect(set(GONE)).rejects.toMatchObject({ reason: 'bundle_not_loaded' });
      await expect(opened.cancelCandidate(second)).rejects.toThrow('bundle_id: is no candidate; there is none');
      await set(second);
      await set(third);
      await expect(set(more.ids[0] ?? '')).rejects.toThrow(
        `bundle_id: is one candidate too many, at most 2 are allowed; cancel one of: ${second}, ${third}`,
      );
      await expect(opened.cancelCandidate(GONE)).rejects.toThrow(`use one of: ${second}, ${third}`);
    } finally {
      more.remove();
    }
  });
});

describe('a bundle that is copied into a folder later', () => {
  const onLeftOut = vi.fn();
  const openOne = () => open({ dirs: copies.dirs.slice(0, 1), findDirs: async () => copies.dirs, onLeftOut });

  it('is loaded when it becomes a candidate, or active', async () => {
    const opened = await openOne();
    expect(opened.ids()).toEqual([first]);
    await opened.setCandidate({ bundleId: second, shareBp: 0 });
    expect(opened.get(second).model.id).toBe(second);
    expect(await opened.activate(third)).toBe(first);
    expect(opened.ids()).toEqual([third, first, second]);
  });

  it('is loaded when another replica names it', async () => {
    const opened = await openOne();
    stored = { active: second, previous: [first], candidates: [{ bundleId: third, shareBp: 100 }] };
    await opened.refresh();
    expect(announced(opened)).toEqual([
      [second, 'active'],
      [third, 'canary', 100],
      [first, 'previous'],
    ]);
  });

  it('is refused with the reason if it is damaged', async () => {
    const damaged = copyBundles('damaged');
    try {
      const opened = await open({ findDirs: async () => damaged.dirs });
      truncateSync(join(damaged.dirs[0] ?? '', 'pool.bin'), 10);
      await expect(opened.setCandidate({ bundleId: damaged.ids[0] ?? '', shareBp: 0 })).rejects.toMatchObject({
        reason: 'bundle_invalid',
        message: expect.stringContaining('pool.bin: has 10 bytes'),
      });
      expect(announced(opened)).toEqual([[first, 'active']]);
    } finally {
      damaged.remove();
    }
  });
});

describe('a watcher', () => {
  it('gets the announcement at once and after every change, until it leaves', async () => {
    const opened = await openAll();
    const leave = new AbortController();
    const announcements = opened.watch(leave.signal)[Symbol.asyncIterator]();
    const next = async () => ((await announcements.next()).value as Announcement).activeBundleId;
    expect(await next()).toBe(first);
    const changed = next();
    await opened.activate(second);
    expect(await changed).toBe(second);
    const changedAgain = announcements.next();
    await opened.setCandidate({ bundleId: third, shareBp: 500 });
    expect((await changedAgain).value).toMatchObject({ bundles: [{}, { bundleId: third, shareBp: 500 }, {}] });
    const left = announcements.next();
    leave.abort();
    expect(await left).toEqual({ done: true, value: undefined });
  });

  it('gets the latest announcement only, if there were several in between', async () => {
    const opened = await openAll();
    const leave = new AbortController();
    const announcements = opened.watch(leave.signal)[Symbol.asyncIterator]();
    await announcements.next();
    await opened.activate(second);
    await opened.activate(third);
    const { value } = await announcements.next();
    expect(announced({ announcement: () => value as Announcement })).toEqual([
      [third, 'active'],
      [second, 'previous'],
    ]);
    leave.abort();
    expect((await announcements.next()).done).toBe(true);
  });
});
