import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileOutcome } from '@collectivekv/credentials';
import { CkvError, servesUser, type Tensors } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { copyTarget, piecesOf } from './bundle-pieces.fixture.js';
import { type BundleTrust, followBundleTrust } from './bundle-trust.js';
import { type BundleFollower, type FollowOptions, followBundles } from './follow-bundles.js';
import type { LoadedBundle } from './loaded-bundle.js';
import { signBundle } from './sign-bundle.js';
import { SIGNATURE_FILE } from './signature-file.js';
import { type KeyPair, makeKeyPair } from './signing.fixture.js';

const MISSING = 'f'.repeat(16);
/** Longest wait on a busy machine. */
const BUSY = { timeout: 20_000 };
const log = { info: vi.fn(), warn: vi.fn() };
let dir: string;
let cacheDir: string;
let engine: Engine;
let [first, second] = ['', ''];
let dirs: Record<string, string>;
let follower: BundleFollower | undefined;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-follow-'));
  first = await copyTarget(join(dir, 'first'), 'first');
  second = await copyTarget(join(dir, 'second'), 'second');
  dirs = { [first]: join(dir, 'first'), [second]: join(dir, 'second') };
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
});
afterAll(async () => {
  await engine.close();
  await rm(dir, { recursive: true });
});
beforeEach(async () => {
  cacheDir = await mkdtemp(join(dir, 'cache-'));
});
afterEach(async () => {
  await follower?.close();
  follower = undefined;
  vi.useRealTimers();
  vi.clearAllMocks();
});

/** A stand-in for the pool: it streams what the test announces, and bundles from their folders. */
function createPool() {
  let announced: object[] = [];
  let wake = () => {};
  let up = true;
  const fetched: string[] = [];

  async function* announcements(signal: AbortSignal): AsyncGenerator<unknown> {
    signal.addEventListener('abort', () => wake());
    for (;;) {
      signal.throwIfAborted();
      if (!up) throw new CkvError('dependency_unavailable', 'the pool is down');
      const next = announced.shift();
      if (next) yield next;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }

  function stream(method: string, request: { bundleId?: string }, { signal }: { signal: AbortSignal }) {
    if (method === 'WatchBundles') return announcements(signal);
    const { bundleId = '' } = request;
    fetched.push(bundleId);
    const source = dirs[bundleId];
    if (!source) throw new CkvError('bundle_not_loaded', 'the pool has no such bundle');
    return observed(piecesOf(source));
  }

  async function* observed(pieces: ReturnType<typeof piecesOf>) {
    for await (const piece of pieces) {
      await pool.onPiece(piece.path);
      yield piece;
    }
  }

  const pool = {
    client: { stream } as unknown as FollowOptions['pool'],
    fetched,
    /** Called with the path of each piece that is sent. */
    onPiece: (_path: string): unknown => undefined,
    announce(activeBundleId: string, ...others: string[]) {
      announced.push({ activeBundleId, bundleIds: [activeBundleId, ...others] });
      wake();
    },
    /** Announces a canary beside the active bundle. */
    announceCanary(activeBundleId: string, bundleId: string, shareBp: number) {
      const bundles = [
        { bundleId: activeBundleId, state: 'BUNDLE_STATE_ACTIVE', shareBp: 0 },
        { bundleId, state: 'BUNDLE_STATE_CANARY', shareBp },
      ];
      announced.push({ activeBundleId, bundleIds: [activeBundleId, bundleId], bundles });
      wake();
    },
    goDown() {
      [up, announced] = [false, []];
      wake();
    },
    comeUp() {
      up = true;
    },
  };
  return pool;
}

function follow(pool: ReturnType<typeof createPool>, trust?: BundleTrust): BundleFollower {
  follower = followBundles({ pool: pool.client, cacheDir, engine, graphs: ['gather'], trust, log });
  return follower;
}

/** Resolves when the follower logs the message. */
function untilLogged(wanted: string): Promise<void> {
  return new Promise((resolve) => {
    log.info.mockImplementation((_, message) => {
      if (message === wanted) resolve();
    });
  });
}

/** The bundles of the lines that were logged with the message. */
function loggedIds(wanted: string): string[] {
  return log.info.mock.calls.flatMap(([{ bundleId }, message]) => (message === wanted ? [bundleId] : []));
}

/** The id of the active bundle, or the reason why there is none. */
function activeId({ active }: BundleFollower): string {
  try {
    return active().model.id;
  } catch (error) {
    return (error as CkvError).reason;
  }
}
const allIds = ({ all }: BundleFollower) => all().map(({ model }) => model.id);

/** Runs a graph of a bundle, as a request does. */
async function serve({ graphs, model }: LoadedBundle): Promise<number | undefined> {
  const slots: Tensors[string] = { type: 'int64', data: BigInt64Array.of(1n), shape: [1] };
  const feeds = Object.fromEntries(model.manifest.graphs.gather.inputs.map(({ name }) => [name, slots]));
  return (await graphs.run('gather', feeds)).history_key_rows?.shape[0];
}

describe('a follower', () => {
  it('logs how many users of a bundle share a graph run, if it was asked to join them', async () => {
    const joined = () => log.info.mock.calls.filter(([, message]) => message === 'most users that share a graph run');
    const pool = createPool();
    const options = { pool: pool.client, cacheDir, engine, graphs: ['rank'] as const, trust: undefined, log };
    follower = followBundles(options);
    pool.announce(first);
    await follower.ready;
    expect(joined()).toEqual([]);
    await follower.close();
    follower = followBundles({ ...options, batchUsers: 16 });
    pool.announce(first);
    await follower.ready;
    const fields = { bundleId: first, mostUsers: 16, because: 'configured' };
    expect(joined()).toEqual([[fields, 'most users that share a graph run']]);
    expect(follower.active().joinedUsers?.mostUsers).toBe(16);
  });

  it('serves the announced bundle, and keeps the others that were announced', async () => {
    const pool = createPool();
    const following = follow(pool);
    expect(activeId(following)).toBe('dependency_unavailable');
    expect(allIds(following)).toEqual([]);
    pool.announce(first);
    await following.ready;
    expect(await serve(following.active())).toBe(1);
    pool.announce(second, first);
    await expect.poll(() => activeId(following), BUSY).toBe(second);
    expect(allIds(following)).toEqual([second, first]);
    expect(await serve(following.get(first))).toBe(1);
    expect(() => following.get(MISSING)).toThrow(
      `bundle_id: ${MISSING} is not loaded on this replica, which has ${first}, ${second}`,
    );
    pool.announce(first, second);
    await expect.poll(() => activeId(following), BUSY).toBe(first);
    expect(loggedIds('bundle loaded')).toEqual([first, second]);
    expect(loggedIds('bundle active')).toEqual([first, second, first]);
  });

  it('frees a retired bundle when the last request that holds it has ended', async () => {
    const pool = createPool();
    const following = follow(pool);
    pool.announce(first);
    await following.ready;
    const held = following.active();
    const [release, releaseOther] = [following.hold(held), following.hold(held)];
    const retired = untilLogged('bundle retired');
    pool.announce(second);
    await retired;
    expect(activeId(following)).toBe(second);
    expect(() => following.get(first)).toThrow(/is not loaded/);
    expect(allIds(following)).toEqual([second]);

    expect(await serve(held)).toBe(1);
    release();
    release(); // has no further effect
    expect(await serve(held)).toBe(1);
    releaseOther();
    await expect(serve(held)).rejects.toMatchObject({ reason: 'draining' });
    expect(await serve(following.active())).toBe(1);
    following.hold(held)(); // has no effect on a closed bundle
  });

  it('frees a bundle that nobody holds as soon as it is retired', async () => {
    const pool = createPool();
    const following = follow(pool);
    pool.announce(first);
    await following.ready;
    const before = following.active();
    following.hold(before)();
    expect(await serve(before)).toBe(1);
    const retired = untilLogged('bundle retired');
    pool.announce(second);
    await retired;
    await expect(serve(before)).rejects.toMatchObject({ reason: 'draining' });
  });

  it('goes on without a bundle beside the active one that does not load', async () => {
    const pool = createPool();
    const following = follow(pool);
    pool.announce(first, MISSING, second);
    await following.ready;
    await expect.poll(() => allIds(following), BUSY).toEqual([first, second]);
    expect(following.announced().map(({ bundleId }) => bundleId)).toEqual([first, MISSING, second]);
    expect(log.warn).toHaveBeenCalledWith(expect.objectContaining({ bundleId: MISSING }), expect.any(String));
  });

  it('goes back to a loaded bundle at once, also while another one is being loaded', async () => {
    const pool = createPool();
    const following = follow(pool);
    pool.announce(first);
    await following.ready;
    pool.announce(second, first);
    await expect.poll(() => activeId(following), BUSY).toBe(second);
    let arrive = () => {};
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    let sent = () => {};
    const third = await copyTarget(join(cacheDir, 'source'), 'third');
    dirs[third] = join(cacheDir, 'source');
    pool.onPiece = () => {
      arrive();
      return new Promise<void>((resolve) => {
        sent = resolve;
      });
    };
    pool.announce(third, second, first);
    await arrived;
    expect(activeId(following)).toBe(second);
    pool.announce(first, third);
    await expect.poll(() => activeId(following), BUSY).toBe(first);
    pool.onPiece = () => undefined;
    sent();
    await expect.poll(() => allIds(following), BUSY).toEqual([first, third]);
  });

  it('serves the users of a canary by it as soon as it is loaded, and the others by the active bundle', async () => {
    const pool = createPool();
    const following = follow(pool);
    pool.announce(first);
    await following.ready;
    const users = Array.from({ length: 100 }, (_, i) => `u${i}`);
    const canary = { bundleId: second, shareBp: 3_000 };
    const served = () => users.filter((user) => following.serving(user).bundle.model.id === second);
    expect(served()).toEqual([]);
    pool.announceCanary(first, second, canary.shareBp);
    const wanted = users.filter((user) => servesUser(canary, user));
    expect(wanted.length).toBeGreaterThan(0);
    await expect.poll(served, BUSY).toEqual(wanted);
    expect(following.serving(wanted[0] ?? '').canaryShareBp).toBe(3_000);
    expect(activeId(following)).toBe(first);
    pool.announce(first, second);
    await expect.poll(served, BUSY).toEqual([]);
    expect(following.serving(wanted[0] ?? '').canaryShareBp).toBe(0);
  });

  it('serves on while an active bundle does not load, and while the pool is down', async () => {
    const pool = createPool();
    const following = follow(pool);
    pool.announce(first);
    await following.ready;
    pool.announce(MISSING, first);
    const warnings = () => log.warn.mock.calls.map(([, message]) => message);
    await expect.poll(warnings, BUSY).toContain('the active bundle does not load; trying again');
    expect(activeId(following)).toBe(first);
    expect(allIds(following)).toEqual([first]);
    pool.goDown();
    await expect.poll(warnings, BUSY).toContain('the pool cannot be followed; trying again');
    expect(activeId(following)).toBe(first);
    pool.comeUp();
    pool.announce(second);
    await expect.poll(() => activeId(following), BUSY).toBe(second);
  });

  it('waits for the pool if its cache folder is empty, and reads that folder once', async () => {
    const pool = createPool();
    pool.goDown();
    const following = follow(pool);
    await expect.poll(() => log.warn.mock.calls.length, BUSY).toBeGreaterThan(1);
    expect(activeId(following)).toBe('dependency_unavailable');
    pool.comeUp();
    pool.announce(first);
    await following.ready;
    expect(activeId(following)).toBe(first);
    expect(loggedIds('the cache folder has no bundle to start with')).toHaveLength(1);
  });

  it('starts with the bundles of its cache folder while the pool is down', async () => {
    const pool = createPool();
    const before = follow(pool);
    pool.announce(second, first);
    await expect.poll(() => allIds(before), BUSY).toEqual([second, first]);
    await expect.poll(() => readdir(cacheDir), BUSY).toContain('announcement.json');
    await before.close();
    pool.goDown();
    const following = follow(pool);
    await following.ready;
    await expect.poll(() => allIds(following), BUSY).toEqual([second, first]);
    expect(pool.fetched).toEqual([second, first]);
    pool.comeUp();
    pool.announce(first);
    await expect.poll(() => activeId(following), BUSY).toBe(first);
  });

  it('fetches a bundle if another one is in its cache folder', async () => {
    const pool = createPool();
    await cp(dirs[second] as string, join(cacheDir, first), { recursive: true });
    const following = follow(pool);
    pool.announce(first);
    await following.ready;
    expect(pool.fetched).toEqual([first]);
    expect(await serve(following.active())).toBe(1);
  });

  it('fetches a bundle again if the copy in its cache folder is damaged', async () => {
    const pool = createPool();
    await cp(dirs[first] as string, join(cacheDir, first), { recursive: true });
    await writeFile(join(cacheDir, first, 'pool.bin'), 'damage');
    const following = follow(pool);
    pool.announce(first);
    await following.ready;
    expect(log.warn.mock.calls).toEqual([
      [expect.objectContaining({ problem: expect.stringContaining('pool.bin') }), expect.any(String)],
    ]);
    expect(pool.fetched).toEqual([first]);
    expect(await serve(following.active())).toBe(1);
  });

  it('frees every bundle when it closes, retired ones as well', async () => {
    const pool = createPool();
    const following = follow(pool);
    pool.announce(first);
    await following.ready;
    const held = following.active();
    const retired = untilLogged('bundle retired');
    pool.announce(second);
    await retired;
    const active = following.active();
    await following.close();
    expect(activeId(following)).toBe('draining');
    await expect(serve(held)).rejects.toMatchObject({ reason: 'draining' });
    await expect(serve(active)).rejects.toMatchObject({ reason: 'draining' });
  });
});

describe('a follower with trusted keys', () => {
  let old: KeyPair;
  let next: KeyPair;
  let trustFile: string;
  let trust: BundleTrust | undefined;
  let problems: unknown[];
  const pieces: string[] = [];

  beforeEach(async () => {
    [old, next] = [makeKeyPair(), makeKeyPair()];
    trustFile = join(cacheDir, 'trusted.pem');
    problems = [];
    pieces.length = 0;
    await trusting(old);
    const onOutcome = ({ problem }: FileOutcome) => problems.push(problem);
    trust = followBundleTrust({ field: 'CKV_BUNDLE_TRUST', paths: trustFile, onOutcome });
  });
  afterEach(async () => {
    trust?.close();
    await rm(join(dir, 'first', SIGNATURE_FILE), { force: true });
  });

  const trusting = (...keys: KeyPair[]) => writeFile(trustFile, keys.map(({ publicPem }) => publicPem).join(''));
  const warnings = () => log.warn.mock.calls.map(([{ problem }]) => String(problem));
  /** Announces the first bundle to a new follower, until the follower has answered. */
  async function followFirst(pool = createPool()): Promise<BundleFollower> {
    const following = follow(pool, trust);
    pool.announce(first);
    const answered = () => log.warn.mock.calls.length > 0 || activeId(following) === first;
    await expect.poll(answered, BUSY).toBe(true);
    return following;
  }

  it('refuses a bundle that is not signed, and has fetched no more of it than bundle.json', async () => {
    const pool = createPool();
    pool.onPiece = (path) => pieces.push(path);
    const following = await followFirst(pool);
    expect(activeId(following)).toBe('dependency_unavailable');
    expect(warnings()[0]).toBe(`bundle ${first} of the pool is not signed; sign it with "ckv bundle sign"`);
    expect(new Set(pieces)).toEqual(new Set(['bundle.json']));
    expect(await readdir(cacheDir)).toEqual(['trusted.pem']);
  });

  it('serves a bundle as soon as its key is trusted', async () => {
    await signBundle(join(dir, 'first'), next.key);
    const pool = createPool();
    const following = await followFirst(pool);
    expect(warnings()[0]).toBe(
      `bundle ${first} of the pool is signed by ${next.id}, but CKV_BUNDLE_TRUST has ${old.id}; sign it with "ckv bundle sign" and a trusted key`,
    );
    await trusting(old, next);
    await expect.poll(() => problems, BUSY).toEqual([undefined]);
    pool.announce(first);
    await following.ready;
    expect(await serve(following.active())).toBe(1);
  });

  it('keeps a loaded bundle when its key is no longer trusted, but does not start with it from the cache folder', async () => {
    await signBundle(join(dir, 'first'), old.key);
    const pool = createPool();
    const before = await followFirst(pool);
    await expect.poll(() => readdir(cacheDir), BUSY).toContain('announcement.json');
    await trusting(next);
    await expect.poll(() => problems, BUSY).toEqual([undefined]);
    expect(await serve(before.active())).toBe(1);
    await before.close();

    pool.goDown();
    const following = follow(pool, trust);
    await expect
      .poll(() => log.info)
      .toHaveBeenCalledWith(
        {
          cacheDir,
          problem: expect.stringContaining(`bundle ${first} in ${join(cacheDir, first)} is signed by ${old.id}`),
        },
        'the cache folder has no bundle to start with',
      );
    expect(activeId(following)).toBe('dependency_unavailable');
    expect(await readdir(cacheDir)).toContain(first);

    // The pool has the bundle with a signature of the new key, and sends only this.
    await signBundle(join(dir, 'first'), next.key);
    pool.onPiece = (path) => pieces.push(path);
    pool.comeUp();
    pool.announce(first);
    await following.ready;
    expect(pieces).toEqual(['bundle.json']);
    expect(await serve(following.active())).toBe(1);
  });
});
