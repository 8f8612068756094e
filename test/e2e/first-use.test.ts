// The first steps of a new user: the README's snippets, ckv, and a small quickstart, simulated and replayed.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runQuickstart } from '@collectivekv/dev-stack';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { copyDemo } from './bundle-copies.js';
import { DEMO_BUNDLE, type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';
import { readmeSnippet } from './readme-snippet.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('the README', () => {
  let e2e: E2eStack;
  beforeAll(async () => {
    e2e = await startE2e();
  });
  afterAll(() => e2e?.close());

  const snippet = (name: string) => readmeSnippet(name, e2e.stack.targets);

  it('has a working feed backend in TypeScript', async () => {
    const folder = join(root, '.ckv', 'snippets'); // inside the workspace, so that Node finds our packages
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'feed-backend.mjs'), snippet('feed-backend.mjs'));
    const run = spawnSync(process.execPath, [join(folder, 'feed-backend.mjs')], { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(/^i000\d \d+ full\n$/);
    await e2e.untilApplied('u000001', 1);
  });

  // Each command is a process, which takes seconds on a busy machine.
  describe('ckv', { timeout: 120_000 }, () => {
    const env = () => ({
      ...process.env,
      CKV_RANKING_TARGET: e2e.stack.targets.ranking,
      CKV_UPDATER_TARGET: e2e.stack.targets.updater,
      CKV_POOL_TARGET: e2e.stack.targets.pool,
      CKV_USER_CACHE_TARGET: e2e.stack.targets['user-cache'],
      CKV_QUEUE_REDIS_URL: e2e.stack.redisUrl,
    });
    function ckv(...args: string[]) {
      const run = spawnSync(process.execPath, [join(root, 'packages/cli/bin/ckv.js'), ...args], {
        encoding: 'utf8',
        env: env(),
        cwd: tmpdir(),
      });
      return { ...run, json: () => JSON.parse(run.stdout) };
    }

    it('records, shows, ranks, forgets and deletes', async () => {
      expect(ckv('record', 'cli', 'i0001', 'i0002', '--action', 'like', '--feature', 'watch_ratio=0.8').status).toBe(0);
      await e2e.untilApplied('cli', 2);
      const shown = ckv('--json', 'user', 'cli').json();
      expect(shown).toMatchObject({
        positionCount: 2,
        positions: [{ item: [1], event: [expect.any(Number)] }, { item: [2] }],
      });
      expect(ckv('user', 'cli').stdout).toContain('2 of at most 1000');
      const ranked = ckv(
        '--json',
        'rank',
        'cli',
        'i0001',
        'i0002',
        '--feature',
        'freshness=0.1,0.9',
        '--context',
        'hour=3',
      ).json();
      expect(ranked).toMatchObject({ ranked: [{}, {}], info: { positionCount: 2, rung: 'full' } });
      expect(ckv('rank', 'cli', 'i0001').stdout).toMatch(/history +2 positions/);
      const folder = mkdtempSync(join(tmpdir(), 'ckv-explain-'));
      const picture = join(folder, 'explained.html');
      const explained = ckv('explain', 'cli', 'i0001', 'i0002', '--html', picture).stdout;
      expect(explained).toMatch(/i0001: score 0\.\d+[\s\S]*i0002: score 0\.\d+[\s\S]*positions +2/);
      expect(readFileSync(picture, 'utf8')).toContain('<svg ');
      rmSync(folder, { recursive: true });
      const { explanation, info } = ckv('--json', 'explain', 'cli', 'i0001').json();
      expect(info.positionCount).toBe(2);
      expect(explanation.candidates[0].positions.map(({ itemId }: { itemId: string }) => itemId).sort()).toEqual([
        'i0001',
        'i0002',
      ]);
      ckv('record', 'cli', 'i0009', '--event-id', 'oops');
      await e2e.untilApplied('cli', 3);
      expect(ckv('forget', 'cli', 'oops').stdout).toMatch(/erases +an interaction\nstate +done\n/);
      expect((await e2e.recordOf('cli'))?.positionCount).toBe(2);
      const { receiptId } = ckv('--json', 'user', 'delete', 'cli', '--no-wait').json();
      await expect.poll(() => ckv('--json', 'receipt', receiptId).json().state, { timeout: 60_000 }).toBe('done');
      expect(ckv('receipt', receiptId).stdout).toMatch(/erases +a user\n[\s\S]*│ records │/);
      expect(ckv('user', 'delete', 'cli', '--receipt-id', receiptId).stdout).toContain(receiptId);
      expect(ckv('--json', 'user', 'show', 'cli').json()).toMatchObject({ record: null });
    });

    it('shows bundles, the queue and statistics', () => {
      const [bundle] = ckv('--json', 'bundle', 'list').json();
      const { id, encodingId } = e2e.bundle.model;
      expect(bundle).toMatchObject({ id, encodingId, state: 'active' });
      expect(ckv('bundle', 'show').stdout).toMatch(/clusters +history: \d+ of item x \d+ of event/);
      expect(ckv('bundle', 'verify', DEMO_BUNDLE).stdout).toContain(
        `encoding ${encodingId}: all files are intact, and all golden vectors pass`,
      );
      expect(ckv('--json', 'queue').json()).toMatchObject({ failed: 0, partitions: { length: 16 } });
      expect(ckv('--json', 'stats').json()).toMatchObject({ recordCount: expect.any(Number) });
    });

    it('shows how recent positions use the pool', async () => {
      const positions = () => ckv('--json', 'pool').json()[0].fields[0].recent.positionCount;
      await expect.poll(positions, { timeout: 60_000 }).toBeGreaterThan(0); // updaters report every 10 s
      expect(ckv('pool').stdout).toMatch(/item +[\d,]+ slots\npositions +[1-9]/);
    });

    it('takes a bundle by its name, and warns of names that the bundle does not know', async () => {
      const { id, manifest } = e2e.bundle.model;
      expect(ckv('--json', 'bundle', 'show', manifest.name).json()).toMatchObject({ bundleId: id });
      expect(ckv('bundle', 'activate', manifest.name).stdout).toContain(`active: ${id}`);
      expect(ckv('rank', 'u', 'i0001', '--bundle', manifest.name).status).toBe(0);
      const { status, stderr } = ckv('record', 'warned', 'i0001', '--action', 'bogus', '--feature', 'watch=1');
      expect(stderr).toMatch(/warning: .* no action "bogus", which counts as unknown; it has .*like/);
      expect(stderr).toMatch(/warning: .* no interaction feature "watch", which is ignored; it has watch_ratio/);
      expect(status).toBe(0);
      await e2e.untilApplied('warned', 1);
    });

    it('prints the reason of a failure and exits with 1', () => {
      const failures = [
        [
          ['rank', 'u', 'i', '--bundle', 'x'],
          /no bundle of the pool has the id or the name "x"; it has \S+ \([0-9a-f]{16}\)/,
        ],
        [['bundle', 'show', 'x'], /no bundle of the pool has the id or the name "x"/],
        [['bundle', 'activate', '0123456789abcdef'], /error: 0123456789abcdef .*\n.*bundle_not_loaded/],
        [['bundle', 'cancel', 'demo'], /error: demo: is no candidate/],
        [['rank', 'u', 'i', '--feature', 'freshness=0,5'], /--feature freshness: has 2 numbers for 1 item/],
        [
          ['record', 'u', 'i', '--feature', 'watch_ratio=0,5'],
          /watch_ratio=0,5' is invalid. Give NAME=NUMBER, with a dec/,
        ],
        [['bundle', 'rollback'], /no bundle was active before/],
        [['rank', 'u', 'i', '--feature', 'nope=1'], /--feature nope: is not a feature/],
        [['--ranking', '127.0.0.1:1', 'rank', 'u', 'i'], /RankingService at 127\.0\.0\.1:1 cannot be reached/],
        [['queue', 'retry'], /give either job ids or --all/],
        [['dance'], /unknown command/],
      ] as const;
      for (const [args, message] of failures) {
        const run = ckv(...args);
        expect(run.stderr).toMatch(message);
        expect(run.status).toBe(1);
      }
    });
  });
});

describe('the quickstart', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ckv-quickstart-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const options = () => ({
    dir,
    bundleDir: DEMO_BUNDLE,
    users: 8,
    positions: 300,
    rankRequests: 24,
    onProgress: () => undefined,
  });

  it('streams and ranks a simulated feed, and measures every figure', async () => {
    const { stack, summary, problems } = await runQuickstart(options());
    await stack.stop();
    expect(problems).toEqual([]);
    expect(summary).toMatchObject({ users: 8, interactions: 2_400, positions: 2_400, failedRequests: 0 });
    expect(summary.fullKvBytesPerPosition).toBe(2_048);
    expect(summary.compressionRatio).toBeLessThan(0.008);
    expect((summary.aucWithHistory ?? 0) - (summary.aucWithoutHistory ?? 1)).toBeGreaterThan(0.05);
    const figures = Object.entries(summary).filter(([, value]) => typeof value === 'number');
    expect(figures.filter(([, value]) => !Number.isFinite(value))).toEqual([]);
  });

  it('lets a bundle that is copied beside the served one follow it, as docs/model-updates.md says', async () => {
    const { stack } = await runQuickstart(options());
    copyDemo(join(dir, 'bundles', 'copied'), 'next');
    const env = { PATH: process.env.PATH ?? '', CKV_POOL_TARGET: stack.targets.pool };
    const ckv = (...args: string[]) =>
      spawnSync(process.execPath, [join(root, 'packages/cli/bin/ckv.js'), '--json', ...args], {
        encoding: 'utf8',
        env,
      });
    try {
      expect(ckv('bundle', 'activate', 'next', '--force').stderr).toMatch(/^error: --queue-redis: is required/);
      expect(ckv('--queue-redis', stack.redisUrl, 'bundle', 'activate', 'next').stderr).toBe('');
      const names = JSON.parse(ckv('bundle', 'list').stdout).map(({ name }: { name: string }) => name);
      expect(names).toEqual(['next', 'demo']);
    } finally {
      await stack.stop();
    }
  });

  it('replays a log, stores a duplicated line once, and counts unknown items', async () => {
    const log = join(dir, 'log.tsv');
    const lines = interactionsOf('someone', 50).map(({ eventId, itemId, timestampMs }, i) =>
      [`person-${i % 5}`, i < 3 ? 'never seen' : itemId, timestampMs, 'click', eventId].join('\t'),
    );
    writeFileSync(log, ['user\tvideo_id\ttime_ms\taction\tevent_id', ...lines, lines[49]].join('\n'));
    const { stack, summary, problems } = await runQuickstart({
      ...options(),
      dataFile: log,
      columns: { user_id: 'user' },
    });
    await stack.stop();
    expect(problems).toEqual([]);
    expect(summary).toMatchObject({ users: 5, interactions: 50, positions: 50, unknownItems: 1, aucWithHistory: null });
  });

  it('fails with the error of a bad log before anything starts, wherever the bad row is', async () => {
    const log = join(dir, 'bad.csv');
    writeFileSync(log, 'user_id,item,timestamp_ms\nu,i,1e12\n');
    await expect(runQuickstart({ ...options(), dataFile: log })).rejects.toThrow(
      /bad\.csv, line 1: has no column item_id; it has user_id, item, timestamp_ms\. .*--columns item_id=NAME/,
    );
    writeFileSync(log, `user_id,item_id,timestamp_ms\n${'u,i,1e12\n'.repeat(5_000)}u,i,1700000000\n`);
    await expect(runQuickstart({ ...options(), dataFile: log })).rejects.toThrow(/line 5002, column timestamp_ms: /);
    expect(readdirSync(dir)).toEqual(['bad.csv']); // neither Redis nor a service was started
    await expect(runQuickstart({ ...options(), dataFile: log, columns: { uid: 'user_id' } })).rejects.toThrow(
      /--columns: uid is neither a column of a log nor a feature; these are event_id, user_id/,
    );
  });
});
